"""The training loop in one process: schedule, checkpoints, exact resume, losses that are not finite, a full disk."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polyneuron.neuron_core.common.errors import TrainingError
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.training.loop.checkpoints import KEPT, Checkpoint, Checkpoints
from polyneuron.neuron_core.training.loop.settings import TrainSettings
from polyneuron.neuron_core.training.loop.stepper import PlainStepper
from polyneuron.neuron_core.training.loop.trainer import train
from polyneuron.neuron_core.training.trainable.compact import CompactNeurons
from tests.neuron_core.training.plain_batches import four_in_turn, make_batch
from tests.tiny_models import tiny_model

SETTINGS = TrainSettings(
    n_steps=8, global_batch=4, micro_batch=2, learning_rate=5e-3, weight_decay=0.1, checkpoint_every=3
)


def chosen(model: Any) -> NeuronSet:
    anatomy, rng = anatomy_of(model), np.random.default_rng(0)
    indices = {
        (layer, group): sorted(rng.choice(anatomy.widths[group], 4, replace=False).tolist())
        for layer in range(anatomy.n_layers)
        for group in ("q", "k", "v", "ffn")
    }
    return NeuronSet.from_indices("tiny", anatomy.widths, anatomy.n_layers, indices)


def trained(
    folder: Path | None, settings: TrainSettings = SETTINGS, job: str = "job", stop_after: int | None = None
) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
    model = tiny_model("llama-gqa-tied")

    def progress(done: int, total: int) -> None:
        if done == stop_after:
            raise KeyboardInterrupt

    with CompactNeurons(model, chosen(model)).attached() as compact:
        stepper = PlainStepper(model, compact.trained, settings)
        checkpoints = None if folder is None else Checkpoints(folder, job)
        log = train(
            stepper, four_in_turn, make_batch, settings, checkpoints=checkpoints, progress=progress
        ).log
        return log, stepper.values() | stepper.moments()


def losses(log: list[dict[str, Any]]) -> list[float]:
    return [entry["loss_nats"] for entry in log]


def test_the_loss_falls_and_the_log_is_whole() -> None:
    log, _ = trained(None)
    assert [entry["step"] for entry in log] == list(range(8))
    assert losses(log)[-1] < losses(log)[0]
    assert all(entry["n_tokens"] == 4 * 11 and entry["gradient_norm"] > 0 for entry in log)


def test_the_schedule_warms_up_and_ends_at_nothing() -> None:
    settings = TrainSettings(n_steps=100, learning_rate=1.0, warmup=0.1)
    rates = [settings.rate(step) for step in range(100)]
    assert rates[0] == 0.1 and rates[9] == 1.0 and max(rates) == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True) and rates[-1] < 1e-3
    linear = TrainSettings(n_steps=10, learning_rate=1.0, warmup=0, schedule="linear")
    assert math.isclose(linear.rate(5), 0.5)


@pytest.mark.parametrize("stop_after", [1, 3, 5, 7])
def test_an_interrupted_training_goes_on_exactly(tmp_path: Path, stop_after: int) -> None:
    whole_log, whole_state = trained(None)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, stop_after=stop_after)
    log, state = trained(tmp_path)
    assert losses(log) == losses(whole_log)
    assert all(torch.equal(state[name], whole_state[name]) for name in whole_state)


def test_old_checkpoints_are_pruned_and_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    log, _ = trained(tmp_path)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-00000006", "step-00000008"]
    assert KEPT == 2
    again, _ = trained(tmp_path)
    assert again == log  # seconds included: nothing was computed


def test_a_checkpoint_of_another_job_is_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    with pytest.raises(TrainingError, match="belongs to another model, set or setting"):
        trained(tmp_path, job="other")


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    trained(tmp_path)
    (tmp_path / "step-00000008" / "state.safetensors").write_bytes(b"x")
    with pytest.raises(TrainingError, match="step-00000008 is damaged"):
        trained(tmp_path)
    shutil.rmtree(tmp_path / "step-00000008")
    assert len(trained(tmp_path)[0]) == 8  # from the one before


def test_a_learning_rate_that_ruins_the_loss_stops_and_keeps_the_last_good(tmp_path: Path) -> None:
    settings = TrainSettings(
        n_steps=40, global_batch=4, micro_batch=2, learning_rate=1e30, warmup=0.5, checkpoint_every=1
    )
    with pytest.raises(TrainingError, match=r"of step \d+ is not finite .*learning_rate"):
        trained(tmp_path, settings)
    last = Checkpoints(tmp_path, "job").latest()
    assert last is not None and all(math.isfinite(entry["loss_nats"]) for entry in last.log)


def test_a_disk_that_fills_during_a_checkpoint_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    checkpoints = Checkpoints(tmp_path, "job")
    checkpoints.save(Checkpoint(1, {"a": torch.ones(3)}, [{"step": 0}]))

    def full(*arguments: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    # A full disk cannot be caused otherwise without a file system of its own.
    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(TrainingError, match="No space left on device"):
        checkpoints.save(Checkpoint(2, {"a": torch.zeros(3)}, []))
    last = checkpoints.latest()
    assert last is not None and last.step == 1 and [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
