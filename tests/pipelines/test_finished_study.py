"""A finished study that is run again: through the command line, on a tiny model."""

import json
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.model.identity import SETTLED_S
from polyneuron.pipelines import cli
from polyneuron.pipelines.run.slot import Workers
from tests.pipelines.in_process import InProcess
from tests.pipelines.killing import ROOT
from tests.tiny_models import save_tiny_model

SMALL = (
    "corpus.n_detection=6",
    "corpus.n_heldout=3",
    "corpus.max_tokens=12",
    "ablation.shared_control_seeds=1",
)
WATCHED = """
import json, sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from polyneuron.pipelines.cli import main
try:
    main(sys.argv[1:])
finally:
    loaded = [name for name in ("transformers", "tokenizers", "ray", "datasets", "scipy.stats") if name in sys.modules]
    print(json.dumps({"loaded": loaded, "weights": [p for p in opened if p.endswith(".safetensors")]}), file=sys.stderr)
"""
NOTHING = {"loaded": [], "weights": []}


def asked(model: Path, *more: str) -> list[str]:
    store = str(model.parent / "store")
    return ["study", "--model", str(model), "--languages", "en,sw", "--out", store, *more, *SMALL]


def in_a_process(arguments: list[str]) -> tuple[str, dict[str, list[str]]]:
    """What a command prints, and what it loaded and opened."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *arguments],
        capture_output=True, text=True, cwd=ROOT, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(done.stderr.splitlines()[-1])


def result(printed: str) -> str:
    return printed.partition("Where the time went")[0]


def units(store: Store) -> dict[str, list[str]]:
    return {
        table: store.read(table)["unit"].to_pylist() for table, spec in TABLES.items() if not spec.about_runs
    }


@pytest.mark.long
def test_a_finished_study_answers_without_transformers_and_without_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    model, store = save_tiny_model(tmp_path / "tiny"), Store(tmp_path / "store")
    settled = time.monotonic() + SETTLED_S
    monkeypatch.setenv("POLYNEURON_CACHE", str(tmp_path / "cache"))
    workers = InProcess(model)
    monkeypatch.setattr(Workers, "_group", lambda self, kind, nf4=False: nullcontext(workers))

    def here(*more: str) -> str:
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main(asked(model, *more))
        assert not left.value.code
        return capfd.readouterr().out

    first, before = result(here()), units(store)
    time.sleep(max(0.0, settled - time.monotonic()))
    here()  # now what is found is remembered
    again, touched = in_a_process(asked(model))
    assert (result(again), units(store), touched) == (first, before, NOTHING)
    assert "shared" in again and len(store.read("runs")) == 3
    here("--dry-run")
    planned, touched = in_a_process(asked(model, "--dry-run"))
    assert "detection 2 done, 0 to do" in planned and touched == NOTHING

    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-4] ^= 1
    weights.write_bytes(content)
    assert "Units: detection 2; perplexity" in here("--dry-run")
