"""Somebody who types what a page shows: runs its blocks in order, each in the strongest way that is possible here."""

import ast
import csv
import importlib.util
import io
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from polyneuron.eval.nightly.announce import message
from polyneuron.pipelines import cli
from polyneuron.pipelines.config.load import from_mapping
from polyneuron.pipelines.config.study import NightlyConfig, StudyConfig
from polyneuron.pipelines.config.transfer import TransferConfig
from tests.eval.nightly.test_render import ALL
from tests.house import FLOORS
from tests.pages.blocks import ROOT, Block, commands_of
from tests.pages.stand_ins import NOT_RUN, NOT_RUN_INSIDE, ONLY_PLANNED, OUTPUTS, STAND_INS
from tests.test_import_directions import imported_modules

_PLANNED: set[str] = set()
"""Commands that were planned for an earlier block or page."""
_KINDS = {"study": StudyConfig, "nightly": NightlyConfig, "transfer": TransferConfig}


@dataclass
class Visitor:
    """Reads one page."""

    model: Path
    neuron: str
    names: dict[str, Any]
    study: dict[str, Any]
    capfd: pytest.CaptureFixture[str]
    printed: str = ""
    n_outputs: int = 0

    def take(self, block: Block) -> None:
        """Runs or checks a block, and raises where it does not do what the page says."""
        how = {
            "python": self._python, "sh": self._shell, "yaml": self._yaml, "json": self._json, "sql": self._sql,
            "text": self._output, "": self._output,
        }  # fmt: skip
        assert block.language in how, f"{block}: no test knows what to do with {block.language!r}"
        how[block.language](block)

    def stood_in(self, text: str) -> str:
        """A block's text with what stands in for it here."""
        for pattern, value in STAND_INS.items():
            words = value.format(model=self.model, neuron=self.neuron, root=ROOT)
            text = re.sub(pattern, lambda _, words=words: words, text)
        return text

    def _python(self, block: Block) -> None:
        assert not {module.partition(".")[0] for module in imported_modules(block.text)} & set(FLOORS)
        # the lines are those of the page in a traceback
        source = "\n" * block.line + self.stood_in(block.text)
        exec(compile(ast.parse(source), block.page, "exec"), self.names)

    def _shell(self, block: Block) -> None:
        subprocess.run(["bash", "-n", "-c", block.text], check=True)
        for words in commands_of(self.stood_in(block.text)):
            if words[0] == "polyneuron":
                self._ours(block, words)
            else:
                assert words[0] in NOT_RUN, f"{block}: {words[0]} is neither run nor listed as not run"
                _CHECKS.get(words[0], lambda words: None)(words)
                inside = words[words.index("--") + 1 :] if "--" in words else [""]
                if inside[0] == "polyneuron":
                    self._ours(block, inside)

    def _ours(self, block: Block, words: list[str]) -> None:
        """Runs a command of ours, or plans it."""
        if words[1] in ONLY_PLANNED and "--dry-run" not in words:
            words = [*words, "--dry-run"]
        line = " ".join(words)
        if line in _PLANNED:
            return
        if any(re.match(start, line) for start in NOT_RUN_INSIDE):
            group: Any = typer.main.get_command(cli.app)
            assert words[1] in group.commands, f"{block}: there is no command {words[1]}"
            group.commands[words[1]].make_context(words[1], words[2:])
            return
        self.capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main(words[1:])
        self.printed, said = self.capfd.readouterr()
        assert left.value.code == 0, f"{block}: {line}: {said}"
        if words[1] in ONLY_PLANNED:
            _PLANNED.add(line)
        assert self.printed.strip() or "0 rows" in said, f"{block}: {line} printed nothing"

    def _yaml(self, block: Block) -> None:
        written = yaml.safe_load(block.text)
        kind = _KINDS[written.get("kind", "study")]
        from_mapping(kind, written if "kind" in written else self.study | written, (), str(block))

    def _json(self, block: Block) -> None:
        """The message that a night posts, key by key."""
        assert _keys(json.loads(block.text)) == _keys(message([ALL], None)), str(block)

    def _sql(self, block: Block) -> None:
        self._ours(block, ["polyneuron", "query", "--store", "stores/smollm2", block.text])

    def _output(self, block: Block) -> None:
        expected = OUTPUTS.get(block.page, ())
        assert self.n_outputs < len(expected), f"{block}: output that no test compares; list it"
        shown, printed = block.text, self.printed
        match expected[self.n_outputs]:
            case "csv":
                rows, ours = list(csv.reader(io.StringIO(shown))), next(csv.reader(io.StringIO(printed)))
                assert {len(row) for row in rows} == {len(rows[0])}
                assert _but_impacts(rows[0]) == _but_impacts(ours), str(block)
            case "headings":
                assert _headings(shown) == _headings(printed), str(block)
            case "lines":
                assert set(shown.splitlines()) <= set(printed.splitlines()), str(block)
            case "voices":
                assert _voices(shown) <= _voices(printed), str(block)
        self.n_outputs += 1


def _but_impacts(names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith("impact_")]


def _headings(text: str) -> list[list[str]]:
    """The heads of the tables in a text."""
    return [[cell.strip() for cell in line.split("┃")] for line in text.splitlines() if "┃" in line]


def _voices(text: str) -> set[str]:
    """What heads an answer, without the numbers and names in it."""
    heads = [line for line in text.splitlines() if re.match(r"\S.*\):$|\S.*\.$", line)]
    return {re.sub(r"(?<=^without )\S+|\d+|, [^,)]+(?=\):$)|(?<=^base )\(.*\)", "", head) for head in heads}


def _keys(value: Any) -> Any:
    """The keys of nested objects; of a list, those of its first entry."""
    if isinstance(value, dict):
        return {key: _keys(part) for key, part in value.items()}
    return [_keys(value[0])] if isinstance(value, list) and value else None


def _make(words: list[str]) -> None:
    assert re.search(rf"^{words[-1]}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE), words


def _python_module(words: list[str]) -> None:
    assert words[1] == "-m" and importlib.util.find_spec(words[2]), words
    for word in words[3:]:
        assert "/" not in word or (ROOT / word).exists(), words


def _ray(words: list[str]) -> None:
    from ray.dashboard.modules.job.cli import submit

    assert words[1:3] == ["job", "submit"]
    submit.make_context("submit", words[3:])
    assert (ROOT / words[words.index("--") + 2]).exists()


def _pip(words: list[str]) -> None:
    from pip._internal.commands import create_command

    create_command(words[1]).parse_args(words[2:])


_CHECKS = {
    "make": _make,
    ".venv/bin/python": _python_module,
    "ray": _ray,
    "pip": _pip,
}
"""How a command that is not run is checked, by its first word."""
