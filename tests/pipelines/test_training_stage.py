"""`polyneuron train` on a tiny model: a stored log, an edit of exactly the chosen neurons, and nothing done twice."""

import subprocess
import sys
from pathlib import Path

import pytest

from eval.store import Store
from neuron_core.weight_edit import WeightEdit
from tests.tiny_models import save_tiny_model

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.ray

CONFIG = """
models: [{{path: {model}, name: tiny}}]
languages: [en, sw]
corpus: {{n_detection: 10, n_heldout: 5, max_tokens: 16}}
detection: {{floor_fraction: 0.5}}
selection: {{target_shared: 0.02}}
training: {{languages: [sw], strategies: [shared], mixture: embedded, n_documents: all, max_tokens: 64, global_batch: 4,
  max_steps: 3, learning_rate: 0.001}}
store: {store}
"""


def run(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    arguments = [
        sys.executable,
        "-m",
        "pipelines.cli",
        "train",
        "--config",
        str(folder / "study.yaml"),
        *overrides,
    ]
    return subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, timeout=280)


def test_a_trained_set_is_stored_once_and_measured(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "tiny")
    (tmp_path / "study.yaml").write_text(CONFIG.format(model=model, store=tmp_path / "store"))
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    store = Store(tmp_path / "store")
    log = store.read("training").to_pylist()
    assert [row["step"] for row in log] == [0, 1, 2] and log[0]["reason"] == "shared was asked for"
    (file,) = (tmp_path / "store" / "edits").glob("*.safetensors")
    edit = WeightEdit.load(file)
    assert edit.name == "tuned-shared-sw" and len(edit.neuron_set) == log[0]["n_neurons"]
    tuned = store.read("perplexities", [("variant", "=", "tuned-shared-sw")])
    assert set(tuned["kind"].to_pylist()) == {"tuned"} and len(tuned) == 2 * 5
    again = run(tmp_path)
    assert again.returncode == 0 and "in the store" in again.stderr and "starting" not in again.stderr
    refused = run(tmp_path, "training.strategies=[auto]", "training.low_score=9")
    assert refused.returncode == 2 and "above high_score" in refused.stderr
