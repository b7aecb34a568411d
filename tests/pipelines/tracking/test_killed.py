"""A training that is killed between two of its curves: the tracker's run goes on, and has each curve once."""

import subprocess
import sys
from pathlib import Path

import pytest

from polyneuron.eval.store.store import Store
from tests.pipelines.killing import ROOT, kill_driver, started_until
from tests.pipelines.stages.test_training_stage import CONFIG
from tests.pipelines.tracking.offline_files import offline_runs
from tests.tiny_models import save_tiny_model

pytest.importorskip("wandb")
pytestmark = [pytest.mark.ray, pytest.mark.long]


@pytest.mark.timeout(900)
def test_a_killed_training_goes_on_in_the_tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    model, config = save_tiny_model(tmp_path / "tiny"), tmp_path / "study.yaml"
    config.write_text(CONFIG.format(model=model, store=tmp_path / "store"))
    line = [sys.executable, "-m", "polyneuron.pipelines.cli", "train", "--config", str(config)]
    line += ["training.strategies=[shared,related]", "tracking.tracker=wandb"]
    first = started_until(line, tmp_path / "store", "tracked/**/*.parquet", n_files=2)
    assert first.poll() is None, "it was done before it could be killed"
    kill_driver(first)
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert done.returncode == 0 and "Warning" not in done.stderr, done.stderr
    sessions = offline_runs(tmp_path / "store")
    assert len(sessions) == 2 and len({session.id for session in sessions}) == 1
    history = [row for session in sessions for row in session.history]
    log = Store(tmp_path / "store").read("training").to_pylist()
    assert {row["variant"] for row in log} == {"tuned-shared-sw", "tuned-related-sw"}
    for variant in ("tuned-shared-sw", "tuned-related-sw"):
        name = f"training/{variant}/loss_nats"
        assert [row[name] for row in history if name in row] == [
            row["loss_nats"] for row in log if row["variant"] == variant
        ]
        assert any(f"validation/{variant}/sw/nats_per_token" in session.summary for session in sessions)
