"""The training loop, written once for one process and for ranks of a group: batches, log, validation, checkpoints.

A `Stepper` does what depends on where it runs (backward, reduction over ranks, the optimizer). The loss is the mean
negative log likelihood over all predicted tokens of a global batch, whatever way its blocks are spread.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from polyneuron.neuron_core.common.errors import TrainingError
from polyneuron.neuron_core.training.loop.checkpoints import Checkpoint, Checkpoints
from polyneuron.neuron_core.training.loop.settings import TrainSettings
from polyneuron.neuron_core.training.loop.stepper import Batch, Stepper, n_predicted
from polyneuron.neuron_core.training.loop.tensorboard import TensorBoard
from polyneuron.neuron_core.training.loop.validation import Validation

Progress = Callable[[int, int], None]
_VALUE, _BEST = "value/", "best/"


@dataclass
class Trained:
    """What a training has done so far."""

    log: list[dict[str, Any]] = field(default_factory=list)
    """A row a step: step, loss_nats, learning_rate, gradient_norm, n_tokens, seconds."""
    validations: list[dict[str, Any]] = field(default_factory=list)
    """A row a validated step and language: step, language, nll_nats, n_tokens."""
    best: dict[str, Tensor] | None = None
    """With early stopping, the values at the best validation."""


def train(
    stepper: Stepper,
    blocks_of_step: Callable[[int], Sequence[int]],
    make_batch: Callable[[Sequence[int]], Batch],
    settings: TrainSettings,
    *,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
    validation: Validation | None = None,
    observer: TensorBoard | None = None,
) -> Trained:
    """Runs from the last checkpoint to the end, or until validation stops it. `blocks_of_step` names the blocks of a global
    batch; rank r takes its micro-batches r, r + world_size, …. Raises TrainingError when a loss or gradient is not finite
    (names the step; the last checkpoint stays), or a checkpoint cannot be read or written."""
    trained = _resumed(stepper, checkpoints)
    if validation is not None and not trained.validations:
        _validate(stepper, validation, trained, 0, observer)
    for step in range(len(trained.log), settings.n_steps):
        if validation is not None and validation.is_over(trained.validations):
            break
        began, numbers = time.monotonic(), list(blocks_of_step(step))
        batches = [
            make_batch(numbers[i : i + settings.micro_batch])
            for i in range(0, len(numbers), settings.micro_batch)
        ]
        row = _step(stepper, batches, step, settings.rate(step), checkpoints)
        row["seconds"] = time.monotonic() - began
        trained.log.append(row)
        if observer is not None:
            observer.stepped(row)
        n_done = step + 1
        if validation is not None and validation.is_due(n_done, settings.n_steps):
            _validate(stepper, validation, trained, n_done, observer)
        every = settings.checkpoint_every
        over = n_done == settings.n_steps or (
            validation is not None and validation.is_over(trained.validations)
        )
        if checkpoints is not None and (over or (every and n_done % every == 0)):
            _keep(stepper, checkpoints, trained)
        if progress is not None:
            progress(n_done, settings.n_steps)
    return trained


def _step(
    stepper: Stepper, batches: Sequence[Batch], step: int, rate: float, checkpoints: Checkpoints | None
) -> dict[str, Any]:
    n_tokens = sum(n_predicted(batch) for batch in batches)
    weight = 1 / max(1, n_tokens)
    nats = _over_ranks(
        stepper, batches, lambda batch, is_own: stepper.backward(batch, weight if is_own else 0.0)
    )
    loss = nats / max(1, n_tokens)
    if not math.isfinite(loss):
        raise TrainingError(_not_finite("loss", step, rate, checkpoints))
    norm = stepper.step(rate)
    if not math.isfinite(norm):
        raise TrainingError(_not_finite("gradient", step, rate, checkpoints))
    return {
        "step": step,
        "loss_nats": loss,
        "learning_rate": rate,
        "gradient_norm": norm,
        "n_tokens": n_tokens,
    }


def _over_ranks(stepper: Stepper, batches: Sequence[Batch], run: Callable[[Batch, bool], float]) -> float:
    """The sum of `run(batch, True)` over all batches, dealt out to the ranks. Ranks of a sharded model must run equally
    often; a rank out of work runs a batch that does not count."""
    share = batches[stepper.rank :: stepper.world_size]
    nats = sum(run(batch, True) for batch in share)
    for _ in range(math.ceil(len(batches) / stepper.world_size) - len(share)):
        run(batches[0], False)
    return stepper.total(nats)


def _validate(
    stepper: Stepper, validation: Validation, trained: Trained, step: int, observer: TensorBoard | None
) -> None:
    rows = []
    for language, batches in validation.batches.items():
        nats = _over_ranks(stepper, batches, lambda batch, _: stepper.loss(batch))
        n_tokens = sum(n_predicted(batch) for batch in batches)
        rows.append({"step": step, "language": language, "nll_nats": nats, "n_tokens": n_tokens})
    trained.validations += rows
    if observer is not None:
        observer.validated(rows)
    if validation.patience is not None and validation.best_step(trained.validations) == step:
        trained.best = stepper.values()


def _resumed(stepper: Stepper, checkpoints: Checkpoints | None) -> Trained:
    last = None if checkpoints is None else checkpoints.latest()
    if last is None:
        return Trained()
    values, best = _named(last.tensors, _VALUE), _named(last.tensors, _BEST)
    moments = {name: t for name, t in last.tensors.items() if not name.startswith((_VALUE, _BEST))}
    stepper.load(values, moments, last.step)
    return Trained(list(last.log), list(last.validations), best or None)


def _keep(stepper: Stepper, checkpoints: Checkpoints, trained: Trained) -> None:
    values, moments = stepper.values(), stepper.moments()
    if stepper.rank == 0:
        tensors = moments | {_VALUE + name: value for name, value in values.items()}
        tensors |= {_BEST + name: value for name, value in (trained.best or {}).items()}
        checkpoints.save(Checkpoint(len(trained.log), tensors, trained.log, trained.validations))


def _named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _not_finite(what: str, step: int, rate: float, checkpoints: Checkpoints | None) -> str:
    kept = f" The last checkpoint in {checkpoints.folder} is from before." if checkpoints is not None else ""
    return (
        f"The {what} of step {step} is not finite (learning rate {rate:g}). Lower training.learning_rate, or train in "
        f"float32.{kept}"
    )
