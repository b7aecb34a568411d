"""Commands on a stored study, given arguments and stores that nobody should give: one message and exit code 2, or an answer."""

import itertools
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polyneuron.pipelines import cli
from tests.pipelines.notebook.conftest import model, store
from tests.time_limit import no_longer_than

__all__ = ["model", "store"]

ANSWERS_IN_S = 120
TEXTS = [
    "",
    " ",
    "shared",
    "exclusive-xx",
    "../x",
    "/dev/null",
    "a\x1b[31mb",
    "\x00",
    "é" * 300,
    "'; --",
    "[/b]",
    "-1",
    "\u2028",
    "a,b",
    ",",
    "*",
    "x" * 300,
]
NUMBERS = [
    "0",
    "-1",
    "1",
    "nan",
    "inf",
    "1e9",
    "99999999999999999999",
    "",
    "0x10",
    "1.5",
    "9223372036854775807",
]
PAIRS = [
    "shared=nan",
    "shared=1e308",
    "shared=-1",
    "=",
    "shared",
    "shared=",
    "x=1",
    "shared=1=2",
    "shared=0x1",
    "\x00=1",
]
NAMES = [
    "L0.ffn.0",
    "L1.q.3",
    "L99.ffn.0",
    "L0.ffn.99999999999999999999",
    "L-1.ffn.0",
    "l0.FFN.0",
    "L0.o.0",
    "L0.ffn",
    "",
    "\x00",
    "L٣.ffn.٤",
    "L0.ffn.0\n",
]
QUERIES = [
    "SELECT 1",
    "SELECT * FROM impacts",
    "",
    ";",
    "SELECT chr(0)",
    "DROP TABLE runs",
    "\x00",
    "SELECT * FROM nothing",
    "SELECT 'a' AS \"\"",
    "-- x",
]
FORMATS = ["csv", "json", "table", "line", "md", "parquet", "terminal", "latex", "", "xml", "JSON", "\x00"]
PLACES = [
    "{out}/a.csv",
    "{out}",
    "{out}/no/where.csv",
    "/dev/null",
    "/dev/full",
    "/proc/x.csv",
    "{out}/a",
    "{out}/é\x1b.json",
    "{out}/\x00.csv",
    "{out}/" + "x" * 300 + ".csv",
    "",
]
MODELS = ["tiny", "other", "", "\x00", "/dev/null", "{out}", "../../x", "org/a/b", "a\nb", "x" * 300]
PARTS = ["sets", "sets,edits", "", ",", "sets,,", "all", "SETS", "\x00"]
REPOS = ["", "x", "a/b/c", "../x", "a/b", "a b/c", "\x00/x", "a/" + "b" * 200, "/", "a/"]
KINDS = [
    "variants",
    "models",
    "families",
    "benchmarks",
    "corpora",
    "configs",
    "study",
    "nightly",
    "transfer",
    "",
    "x",
]
COMMANDS: dict[str, dict[str, list[str]]] = {
    "query": {"": QUERIES, "--format": FORMATS, "--limit": NUMBERS, "-o": PLACES},
    "neurons": {"--set": TEXTS, "--top": NUMBERS, "--format": FORMATS, "-o": PLACES, "--model": MODELS},
    "neuron": {"": NAMES, "--top": NUMBERS, "--format": FORMATS, "--model": MODELS, "--weights": MODELS},
    "say": {"": TEXTS, "--off": TEXTS, "--scale": PAIRS, "--set": PAIRS, "--variant": TEXTS,
            "--max-tokens": ["0", "3", "nan", "-1"], "--seed": NUMBERS,
            "--format": FORMATS, "--model": MODELS, "--weights": MODELS},
    "table": {"--format": FORMATS},
    "export": {"": TEXTS, " ": PLACES, "--model": MODELS, "--weights": MODELS},
    "push": {"": REPOS, "--parts": PARTS, "--model": MODELS},
    "pull": {"": REPOS, "--out": PLACES, "--model": MODELS, "--revision": TEXTS},
    "nightly": {"--baseline": TEXTS, "--out": PLACES, "": ["night=", "night=\x00", "night=../x",
        "store=\x00", "languages=", "alpha=nan", "=", "x", "models=[]"]},
    "init": {"": PLACES, "--model": MODELS, "--languages": TEXTS, "--benchmarks": TEXTS, "--corpus": MODELS, "--train": TEXTS},
    "ls": {"": KINDS},
    "schema": {"": KINDS},
    "trend": {"--out": PLACES},
    "report": {"": ["title=", "title=\x00", "report=/dev/full", "report=/proc/x", "store=\x00", "x"]},
}  # fmt: skip
"""What each command takes, and values of it; a name of spaces stands for an argument without one."""
WITHOUT_STORE = {"pull", "nightly", "init", "schema"}


def asked(command: str, draw: random.Random, store: Path, out: Path) -> list[str]:
    """A command with some of its options, at random."""
    arguments = [command] if command in WITHOUT_STORE else [command, "--store", str(store)]
    if command == "nightly":
        arguments.append("--dry-run")
    if command == "ls" and draw.random() < 0.5:
        arguments = ["ls"]
    positional = []
    for option, values in COMMANDS[command].items():
        value = draw.choice(values).replace("{out}", str(out))
        if not option.strip():
            positional.append(value)
        elif draw.random() < 0.4:
            arguments += [option, value]
    return [*arguments, "--", *positional] if positional else arguments


def fault(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str | None:
    """What is wrong with how a command ends."""
    capfd.readouterr()
    with no_longer_than(ANSWERS_IN_S), pytest.raises(SystemExit) as left:
        cli.main(arguments)
    out, err = capfd.readouterr()
    said = err[err.find("polyneuron: ") :] if "polyneuron: " in err else ""
    if "Traceback" in out + err or "unexpected" in said:
        return f"nobody foresaw: {said[:600]}"
    if left.value.code == 0:
        return None
    if left.value.code != 2 or not said:
        return f"code {left.value.code}: {err[:300]!r}"
    if len(said.splitlines()) > 8 or "\x1b" in said or "\x00" in said:
        return f"a message of {len(said.splitlines())} lines: {said[:500]!r}"
    return None


def faults(
    n: int, seed: int, store: Path, place: Path, capfd: pytest.CaptureFixture[str], commands: list[str]
) -> list[str]:
    draw, found = random.Random(seed), []
    for number, command in zip(range(n), itertools.cycle(commands), strict=False):
        out = place / f"out-{number}"
        out.mkdir()
        arguments = asked(command, draw, store, out)
        if said := fault(arguments, capfd):
            found.append(f"{arguments}: {said}")
    return found


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of one's own; no hub; nobody is told."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("POLYNEURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    yield


def test_no_argument_ends_in_a_traceback(
    store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    light = ["query", "neurons", "table", "ls", "schema", "init"]
    found = faults(36, 1, store, tmp_path, capfd, light)
    assert not found, "\n".join(found)


@pytest.mark.long
@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.timeout(1200)
def test_nor_do_more_of_every_command(
    seed: int, store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = faults(140, seed, store, tmp_path, capfd, list(COMMANDS))
    assert not found, "\n".join(found)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def swapped(path: Path) -> None:
    """The file of another table."""
    root = next(parent for parent in path.parents if (parent / "store.json").exists())
    other = next(
        p
        for p in sorted(root.rglob("*.parquet"))
        if p.relative_to(root).parts[0] != path.relative_to(root).parts[0]
    )
    shutil.copyfile(other, path)


def folder_in_place(path: Path) -> None:
    path.unlink()
    path.mkdir()


def device(path: Path) -> None:
    path.unlink()
    os.symlink("/dev/zero", path)


def loop(path: Path) -> None:
    path.unlink()
    os.symlink(path.name, path)


DAMAGE: list[Callable[[Path], None]] = [truncated, emptied, swapped, folder_in_place, device, loop]
READ = [
    ["query", "SELECT * FROM impacts"], ["neurons", "--set", "shared"], ["table"], ["ls", "variants"],
    ["neuron", "L0.ffn.1"], ["say", "--off", "shared", "--max-tokens", "2", "a"], ["export", "shared", "out"],
    ["push", "a/b"], ["report"],
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
@pytest.mark.timeout(900)
def test_a_damaged_store_is_one_message(
    damage: Callable[[Path], None], store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = []
    tables = sorted(path.name for path in store.iterdir() if path.is_dir() and any(path.rglob("*.parquet")))
    for number, (table, command) in enumerate(itertools.product(["store.json", *tables], READ)):
        if (number + DAMAGE.index(damage)) % 4:
            continue  # every command meets every damage, and tables in turn
        copy = tmp_path / f"store-{number}"
        shutil.copytree(store, copy)
        target = copy / table if table == "store.json" else next((copy / table).rglob("*.parquet"))
        if target.name == "store.json" and damage is swapped:
            continue
        damage(target)
        shutil.rmtree("out", ignore_errors=True)
        if said := fault([command[0], *command[1:], "--store", str(copy)], capfd):
            found.append(f"{damage.__name__} {table} {command}: {said}")
        shutil.rmtree(copy)
    assert not found, "\n".join(found)
