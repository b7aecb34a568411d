"""`polyneuron train` on a tiny model: a stored log, an edit of exactly the chosen neurons, and nothing done twice."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.load import load_model
from tests.tiny_models import save_tiny_model

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.ray

CONFIG = """
kind: study
models: [{{path: {model}, name: tiny}}]
languages: [en, sw]
corpus: {{n_detection: 10, n_heldout: 5, max_tokens: 16}}
detection: {{floor_fraction: 0.5}}
selection: {{target_shared: 0.02}}
ablation: {{shared_control_seeds: 1, exclusive_control_seeds: 1}}
training: {{languages: [sw], strategies: [shared], mixture: embedded, n_documents: all, max_tokens: 64, global_batch: 4,
  max_steps: 3, learning_rate: 0.001, validate_every: 2, n_validation: 4}}
store: {store}
"""


def run(folder: Path, *arguments: str, command: str = "train") -> subprocess.CompletedProcess[str]:
    config = ["--config", str(folder / "study.yaml")]
    line = [sys.executable, "-m", "polyneuron.pipelines.cli", command, *config, *arguments]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=560)


def export(folder: Path, variant: str, to: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "polyneuron.pipelines.cli", "export", variant, str(folder / to)]
    line += ["--store", str(folder / "store")]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=560)


@pytest.mark.slow
def test_a_trained_set_is_stored_once_and_measured(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "tiny")
    (tmp_path / "study.yaml").write_text(CONFIG.format(model=model, store=tmp_path / "store"))
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    store = Store(tmp_path / "store")
    log = store.read("training").to_pylist()
    assert [row["step"] for row in log] == [0, 1, 2] and log[0]["reason"] == "shared was asked for"
    validations = store.read("validations").to_pylist()
    assert [(row["step"], row["language"], row["kept"]) for row in validations] == [
        (step, language, step == 3) for step in (0, 2, 3) for language in ("en", "sw")
    ]
    assert not list((tmp_path / "store" / "edits" / "checkpoints").iterdir())  # of no use any more
    (file,) = (tmp_path / "store" / "edits").glob("*.safetensors")
    edit = WeightEdit.load(file)
    assert edit.name == "tuned-shared-sw" and len(edit.neuron_set) == log[0]["n_neurons"]
    tuned = store.read("perplexities", [("variant", "=", "tuned-shared-sw")])
    assert set(tuned["kind"].to_pylist()) == {"tuned"} and len(tuned) == 2 * 5
    exported = export(tmp_path, "tuned-shared-sw", "tuned")
    assert exported.returncode == 0, exported.stderr
    tuned_model, base = load_model(tmp_path / "tuned")[0], load_model(model)[0]
    with edit.applied(base):
        assert all(map(torch.equal, tuned_model.parameters(), base.parameters()))
    absent = export(tmp_path, "tuned-full-sw", "other")
    assert absent.returncode == 2 and "there are tuned-shared-sw, shared" in absent.stderr
    left = tmp_path / "store" / "edits" / "checkpoints" / log[0]["unit"] / "step-3"
    left.mkdir(parents=True)  # as a run leaves it that is killed right after it has stored the training
    again = run(tmp_path)
    assert again.returncode == 0 and "in the store" in again.stderr and "starting" not in again.stderr
    assert not left.parent.exists()
    before = file.read_bytes()
    file.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    mended = run(tmp_path)
    assert mended.returncode == 0 and "its values are not those that were trained" in mended.stderr
    assert file.read_bytes() == before and (store.read("training").num_rows, len(log)) == (3, 3)
    refused = run(tmp_path, "training.strategies=[auto]", "training.low_score=9")
    assert refused.returncode == 2 and "above high_score" in refused.stderr


@pytest.mark.slow
def test_a_killed_driver_costs_nothing(tmp_path: Path) -> None:
    """SIGKILL once the first checkpoint is there; the same command goes on, and the tables are those of an unbroken run."""
    model = save_tiny_model(tmp_path / "tiny")
    found = {}
    for name in ("whole", "killed"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "study.yaml").write_text(CONFIG.format(model=model, store=folder / "store"))
        overrides = ["training.max_steps=30", "training.checkpoint_every=1", "training.patience=9"]
        if name == "killed":
            kill_driver(folder, *overrides)
        done = run(folder, *overrides)
        assert done.returncode == 0, done.stderr
        (file,) = (folder / "store" / "edits").glob("*.safetensors")
        tables = [Store(folder / "store").read(table) for table in ("training", "validations")]
        found[name] = [table.drop_columns(["run_id"]) for table in tables], file.read_bytes()
    assert found["whole"] == found["killed"]


def kill_driver(folder: Path, *overrides: str) -> None:
    line = [
        sys.executable,
        "-m",
        "polyneuron.pipelines.cli",
        "train",
        "--config",
        str(folder / "study.yaml"),
        *overrides,
    ]
    with subprocess.Popen(line, cwd=ROOT, stderr=subprocess.DEVNULL) as driver:
        while not list((folder / "store").glob("edits/checkpoints/*/step-*")):
            assert driver.poll() is None, "it was done before it could be killed"
            time.sleep(0.01)
        driver.kill()
    assert not list((folder / "store").glob("training/**/*.parquet"))


@pytest.mark.slow
def test_a_sweep_of_strategies_seeds_and_joint_languages(tmp_path: Path) -> None:
    """Also the outside baselines; a trained variant belongs to the study's report with what it is compared with."""
    model = save_tiny_model(tmp_path / "tiny")
    (tmp_path / "study.yaml").write_text(CONFIG.format(model=model, store=tmp_path / "store"))
    done = run(
        tmp_path,
        "training.languages=[[en, sw]]",
        "training.strategies=[random, full, lora]",
        "training.seeds=[0, 1]",
        "training.max_steps=1",
        "training.zero_stage=3",
        "training.recomputed_layers=0.5",
    )
    assert done.returncode == 0, done.stderr
    rows = Store(tmp_path / "store").read("training").to_pylist()
    assert {row["variant"] for row in rows} == {
        f"tuned-{strategy}-en+sw-{seed}" for strategy in ("random-related", "full", "lora") for seed in (0, 1)
    }
    size = {row["strategy"]: (row["n_neurons"], row["n_trainable"]) for row in rows}
    assert size["full"][0] == size["lora"][0] > size["random"][0]
    assert size["full"][1] > size["lora"][1]
    several = [row["loss_nats"] for row in rows if row["strategy"] == "full"]
    assert len(set(several)) == len(several)  # seeds order the blocks anew
