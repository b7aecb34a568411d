"""The training loop, written once for one process and for ranks of a group: batches, schedule, log, checkpoints.

A `Stepper` does what depends on where it runs (backward, reduction over ranks, the optimizer). The loss is the mean
negative log likelihood over all predicted tokens of a global batch, whatever way its blocks are spread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from neuron_core.errors import TrainingError
from neuron_core.training.checkpoints import Checkpoint, Checkpoints
from neuron_core.training.head_loss import summed_head_loss

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TrainSettings:
    """Defaults are the paper's (section 4.2 and its code) where it states them.

    global_batch, micro_batch: in blocks; warmup: share of the steps; weight_decay: AdamW's, on trained values
    only; clip_norm: of the trained tensors' gradient; checkpoint_every: in steps, 0 for the end only.
    """

    n_steps: int
    global_batch: int = 128
    micro_batch: int = 4
    learning_rate: float = 5e-5
    warmup: float = 0.03
    schedule: Literal["cosine", "linear"] = "cosine"
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    checkpoint_every: int = 0

    def rate(self, step: int) -> float:
        """Learning rate of step `step` (from 0): linear warm-up, then cosine or linear decay to 0."""
        n_warm = math.ceil(self.warmup * self.n_steps)
        if step < n_warm:
            return self.learning_rate * (step + 1) / n_warm
        done = (step - n_warm) / max(1, self.n_steps - n_warm)
        left = 1 - done if self.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
        return self.learning_rate * left


class Batch(Protocol):
    """Blocks of tokens, packed."""

    def inputs(self) -> dict[str, Any]:
        """Arguments of the model's forward."""
        ...

    @property
    def labels(self) -> Tensor:
        """int64 [B, T]; -100 where nothing is predicted. labels[:, t] is predicted from position t - 1."""
        ...


class Stepper(Protocol):
    """One rank's share of the work."""

    rank: int
    world_size: int

    def backward(self, batch: Batch, weight: float) -> float:
        """Adds `weight` times the gradient of the batch's summed loss; returns that sum in nats."""
        ...

    def step(self, learning_rate: float) -> float:
        """One optimizer step from what was added; returns the gradient's norm before clipping."""
        ...

    def total(self, value: float) -> float:
        """The sum of `value` over all ranks."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Values and moments of all trained tensors, whole, on the CPU. Collective."""
        ...

    def load(self, tensors: dict[str, Tensor], step: int) -> None:
        """Restores what `state` gave after `step` steps. Collective."""
        ...


def summed_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Summed negative log likelihood in nats of the batch's predicted tokens, float32. The head is frozen."""
    hidden = model.get_decoder()(**batch.inputs(), use_cache=False).last_hidden_state[:, :-1]  # type: ignore[operator]
    labels = batch.labels[:, 1:].to(hidden.device)
    predicted = labels != -100
    return summed_head_loss(model, hidden[predicted], labels[predicted])


def n_predicted(batch: Batch) -> int:
    """Tokens of the batch that are predicted."""
    return int((batch.labels[:, 1:] != -100).sum())


def train(
    stepper: Stepper,
    blocks_of_step: Callable[[int], Sequence[int]],
    make_batch: Callable[[Sequence[int]], Batch],
    settings: TrainSettings,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Runs from the last checkpoint to the end; returns the log of all steps, also of those before it.

    `blocks_of_step` names the blocks of a global batch; rank r takes its micro-batches r, r + world_size, ….

    Raises:
        TrainingError: a loss or gradient is not finite (names the step; the last checkpoint stays), or a
            checkpoint cannot be read or written.
    """
    log: list[dict[str, Any]] = []
    if checkpoints is not None and (last := checkpoints.latest()) is not None:
        stepper.load(last.tensors, last.step)
        log = list(last.log)
    for step in range(len(log), settings.n_steps):
        began = time.monotonic()
        blocks = list(blocks_of_step(step))
        micro = [blocks[i : i + settings.micro_batch] for i in range(0, len(blocks), settings.micro_batch)]
        batches = [make_batch(part) for part in micro]
        n_tokens = sum(n_predicted(batch) for batch in batches)
        rate, mine = settings.rate(step), batches[stepper.rank :: stepper.world_size]
        nats = sum(stepper.backward(batch, 1 / max(1, n_tokens)) for batch in mine)
        # Ranks of a sharded model must run equally often; a rank out of work runs a batch that weighs nothing.
        for _ in range(math.ceil(len(batches) / stepper.world_size) - len(mine)):
            stepper.backward(batches[0], 0.0)
        loss = stepper.total(nats) / max(1, n_tokens)
        if not math.isfinite(loss):
            raise TrainingError(_not_finite("loss", step, rate, checkpoints))
        norm = stepper.step(rate)
        if not math.isfinite(norm):
            raise TrainingError(_not_finite("gradient", step, rate, checkpoints))
        log.append(
            {
                "step": step,
                "loss_nats": loss,
                "learning_rate": rate,
                "gradient_norm": norm,
                "n_tokens": n_tokens,
                "seconds": time.monotonic() - began,
            }
        )
        every = settings.checkpoint_every
        if checkpoints is not None and (step + 1 == settings.n_steps or (every and (step + 1) % every == 0)):
            tensors = stepper.state()
            if stepper.rank == 0:
                checkpoints.save(Checkpoint(step + 1, tensors, log))
        if progress is not None:
            progress(step + 1, settings.n_steps)
    return log


def _not_finite(what: str, step: int, rate: float, checkpoints: Checkpoints | None) -> str:
    kept = f" The last checkpoint in {checkpoints.folder} is from before." if checkpoints is not None else ""
    return (
        f"The {what} of step {step} is not finite (learning rate {rate:g}). Lower training.learning_rate, or train in "
        f"float32.{kept}"
    )


class PlainStepper:
    """One process, torch's own AdamW. `trained`: name -> parameter."""

    rank, world_size = 0, 1

    def __init__(self, model: nn.Module, trained: dict[str, nn.Parameter], settings: TrainSettings) -> None:
        self._model, self._trained, self._clip = model, trained, settings.clip_norm
        self.optimizer = torch.optim.AdamW(
            trained.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )

    def backward(self, batch: Batch, weight: float) -> float:
        """See `Stepper`."""
        loss = summed_loss(self._model, batch)
        (loss * weight).backward()
        return loss.item()

    def step(self, learning_rate: float) -> float:
        """See `Stepper`."""
        norm = nn.utils.clip_grad_norm_(list(self._trained.values()), self._clip)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        if torch.isfinite(norm):
            self.optimizer.step()
        self.optimizer.zero_grad()
        return float(norm)

    def total(self, value: float) -> float:
        """See `Stepper`."""
        return value

    def state(self) -> dict[str, Tensor]:
        """See `Stepper`."""
        found = {}
        for name, parameter in self._trained.items():
            moments = self.optimizer.state[parameter]
            found[f"{name}/value"] = parameter.detach().cpu().clone()
            found[f"{name}/exp_avg"] = moments["exp_avg"].cpu().clone()
            found[f"{name}/exp_avg_sq"] = moments["exp_avg_sq"].cpu().clone()
        return found

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor], step: int) -> None:
        """See `Stepper`."""
        for name, parameter in self._trained.items():
            parameter.copy_(tensors[f"{name}/value"])
            self.optimizer.state[parameter] = {
                "step": torch.tensor(float(step)),
                "exp_avg": tensors[f"{name}/exp_avg"].to(parameter.device).clone(),
                "exp_avg_sq": tensors[f"{name}/exp_avg_sq"].to(parameter.device).clone(),
            }
