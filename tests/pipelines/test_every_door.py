"""Every command, given configurations that nobody would write: an answer in a few lines, no traceback, nothing left about."""

import itertools
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import ClusterError
from polyneuron.pipelines import cli
from polyneuron.pipelines.run.slot import JudgingEngine, Workers
from tests.pipelines.mutated_configs import mutated
from tests.time_limit import no_longer_than
from tests.tiny_models import save_tiny_model

ROOT = Path(__file__).parents[2]
ANSWERS_IN_S = 60
TWO_LINES_OF_LIBRARIES = 2


def study(model: Path, store: Path) -> dict[str, Any]:
    """A small study that uses every section."""
    return {
        "kind": "study",
        "models": [{"path": str(model), "name": "tiny", "dtype": "float32"}],
        "languages": ["en", "sw"],
        "corpus": {"source": "embedded", "sources": {"sw": "embedded"}, "n_detection": 4, "n_heldout": 2, "max_tokens": 12},
        "detection": {"groups": ["q", "ffn"], "mode": "certified", "batch_size": 4},
        "selection": {"rule": "scaled_sigma", "target_shared": 0.003},
        "activations": {"detectors": ["lape"], "sites": ["matched"], "controls": 1},
        "ablation": {"shared_control_seeds": 1, "exclusive_control_seeds": 1, "n_bootstrap": 50},
        "training": {"languages": ["sw"], "strategies": ["shared"], "mixture": "embedded", "n_documents": "all", "seeds": [0]},
        "evaluation": {
            "data": "sample",
            "languages": ["en"],
            "benchmarks": [{"name": "xnli", "max_items": 2}],
            "engine": {"backend": "hf", "max_model_len": 64},
        },
        "cluster": {"world_size": 1, "threads_per_worker": 1, "max_restarts": 0},
        "store": str(store),
        "title": "A study",
        "seed": 3,
    }  # fmt: skip


def nightly(model: Path, store: Path) -> dict[str, Any]:
    """A night with a variant that is not there."""
    of_study = study(model, store)
    kept = {name: of_study[name] for name in ("models", "languages", "evaluation", "store", "seed")}
    variants = [{"name": "edit", "file": "absent.safetensors", "model": "tiny"}]
    return {"kind": "nightly"} | kept | {"night": "2026-11-27", "variants": variants}


def transfer(model: Path, store: Path) -> dict[str, Any]:
    """One task from English."""
    of_study = study(model, store)
    kept = {name: of_study[name] for name in ("models", "languages", "corpus", "cluster", "store", "seed")}
    task = {"name": "xnli", "targets": ["sw"], "training": {"data": "sample", "max_steps": 1}, "max_items": 2}
    own = {"tasks": [task], "detectors": ["lape"], "evaluation_data": "sample", "engine": {"backend": "hf"}}
    return {"kind": "transfer"} | kept | own


DOORS = {
    "study": (study, ()),
    "study --dry-run": (study, ("--dry-run",)),
    "detect --dry-run": (study, ("--dry-run",)),
    "plan": (study, ("--devices", "1x80GB")),
    "nightly": (nightly, ()),
    "transfer": (transfer, ()),
    "transfer --dry-run": (transfer, ("--dry-run",)),
    "report": (study, ()),
    "evaluate": (study, ()),
}
"""What is asked, the good configuration that is mutated for it, and further arguments."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in. Whatever gets as far as the cluster is refused there: that a study runs is tested elsewhere."""
    for name in ("work", "home", "tmp", "cache"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("POLYNEURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", None)

    def no_cluster(*arguments: object, **named: object) -> Any:
        raise ClusterError("far enough")

    monkeypatch.setattr(Workers, "_group", no_cluster)
    monkeypatch.setattr(JudgingEngine, "_start", no_cluster)
    return tmp_path


def answer(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """The exit code and what was said on stderr."""
    capfd.readouterr()
    with no_longer_than(ANSWERS_IN_S), pytest.raises(SystemExit) as left:
        cli.main(arguments)
    return left.value.code, capfd.readouterr().err


def fault_of(code: object, said: str) -> str | None:
    """What is wrong with an answer."""
    message = said[said.find("polyneuron: ") :] if "polyneuron: " in said else ""
    if "Traceback" in said or "unexpected" in said:
        return "an error that nobody foresaw"
    if code == 0:
        return None
    if code == 2 and re.search(r"^\S+    not judged: ", said, re.MULTILINE):
        return None  # a night, which says of each model why
    if code != 2 or not message:
        return f"code {code}, message {message!r}"
    if len(message.splitlines()) > 10 + TWO_LINES_OF_LIBRARIES:
        return f"{len(message.splitlines())} lines"
    return None


def faults(
    place: Path, n_files: int, capfd: pytest.CaptureFixture[str], seed: int
) -> tuple[list[str], Counter[object]]:
    model = save_tiny_model(place / "model")
    found, codes = list[str](), Counter[object]()
    streams = {}
    for number, (door, (good, _)) in enumerate(DOORS.items()):
        streams[door] = mutated(good(model, place / "store"), seed * len(DOORS) + number, kept=("store",))
    for number, door in zip(range(n_files), itertools.cycle(DOORS), strict=False):
        file = place / "config.yaml"
        text = next(streams[door])
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        code, said = answer([*door.split(), *DOORS[door][1], "--config", str(file)], capfd)
        codes[code] += 1
        if fault := fault_of(code, said):
            found.append(f"{number} {door}: {fault}: {said[-1500:]}\n{text}")
        folders = (place / name for name in ("work", "home", "tmp"))
        expected = set() if "\nstore: " in text else {"stores"}  # where the default store lies
        if left := {path.name for folder in folders for path in folder.iterdir()} - expected:
            found.append(f"{number} {door}: left {left}")
            break
    return found, codes


@pytest.mark.long
def test_no_configuration_ends_in_a_traceback(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found, codes = faults(place, 80, capfd, seed=1)
    assert not found, "\n".join(found)
    assert codes[2] > 40 and codes[0] > 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_five_hundred_more_configurations(place: Path, capfd: pytest.CaptureFixture[str], seed: int) -> None:
    found, codes = faults(place, 260, capfd, seed)
    assert not found, "\n".join(found)
    assert codes[2] > 150 and codes[0] > 3


QUERIES = [
    "", ";", "SELECT", "SELECT 1", "SELECT 1; SELECT 2", "SELECT '[/bold]' AS \"[/b]\"", "SELECT chr(27) || '[31m'",
    "SELECT $$", "/*",
    "PRAGMA database_list", "ATTACH '/etc/passwd' AS x", "COPY runs TO '/tmp/x.csv'", "SELECT * FROM read_csv('/etc/passwd')",
    "INSTALL httpfs", "CREATE TABLE x(a INT)", "DROP TABLE runs", "SET memory_limit='1GB'", "DESCRIBE runs", "EXPLAIN SELECT 1",
    "SELECT date '290000-01-01'", "SELECT timestamp 'infinity'", "SELECT 'inf'::float, 'nan'::double",
    "SELECT [1, {'a': NULL}]",
    "SELECT interval '1 year'", "SELECT 99999999999999999999999999::hugeint", "SELECT '\\x00'::blob", "SELECT chr(0)",
    "SELECT 1/0",
    "SELECT repeat('x', 100000)", "SELECT " + "(" * 3000 + "1" + ")" * 3000, "SELECT " + "1+" * 3000 + "1", "x" * 100_000,
    "SELECT nothing FROM impacts",
    "SELECT * FROM impacts, runs, metrics, scores WHERE 1", "SELECT error('a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk')", "\udc80",
    "SELECT '\u2028\U0001f600'",
    "SELECT uuid()", "SELECT map([1],[2])", "SELECT * FROM (VALUES (1)) t(\"\")", "CALL pragma_version()",
    "SELECT getenv('HOME')", "LOAD json",
]  # fmt: skip


def test_every_query_is_answered(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = []
    with Store(place / "store").lock():
        pass
    for sql in QUERIES:
        code, said = answer(["query", "--store", str(place / "store"), "--", sql], capfd)
        if fault := fault_of(code, said):
            found.append(f"{sql[:60]!r}: {fault}: {said[:500]}")
    assert not found, "\n".join(found)
    assert not [path for name in ("work", "home", "tmp") for path in (place / name).iterdir()]


REAL: list[list[str | bytes]] = [
    ["study", "--config", "absent.yaml"],
    ["study", "--config", "/dev/zero"],
    ["study", "--bogus"],
    ["study", "--demo", b"title=\xff\xfe", "seed=-1"],
    ["study", "--demo", "cluster.hang_timeout_s=.inf"],
    ["nightly", "evaluation.engine.threads=9999999999999999999999"],
    ["transfer", "tasks=[]"],
    ["plan", "--devices", "8x80TB\n\n"],
    ["plan", "--devices", "1x80GB", "--host-gib", "nan"],
    ["query", "--store", "/dev/null", "SELECT 1"],
    ["query", "--store", "absent", "SELECT * FROM runs; DROP TABLE runs"],
    ["report", "--store", "absent"],
    ["export", "tuned-shared-sw", "/dev/null/x", "--store", "absent"],
    ["detect", "--demo", "store=/proc/absent"],
]


@pytest.mark.parametrize(
    "asked", [REAL[:5], pytest.param(REAL[5:], marks=pytest.mark.slow)], ids=["some", "others"]
)
def test_real_processes_answer_too(asked: list[list[str | bytes]], tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    (tmp_path / "work").mkdir()
    waiting = asked
    while waiting:
        batch, waiting = waiting[:3], waiting[3:]
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "polyneuron.pipelines.cli", *arguments],
                cwd=tmp_path / "work",
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for arguments in batch
        ]
        for arguments, process in zip(batch, started, strict=True):
            _, said = process.communicate(timeout=100)
            assert process.returncode == 2 and fault_of(process.returncode, said) is None, (arguments, said)
    assert [path.name for path in tmp_path.rglob("*")] == ["work"]
