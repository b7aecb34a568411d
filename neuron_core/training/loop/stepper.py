"""What a training step needs of the place where it runs, and the stepper of one process."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from polyneuron.neuron_core.passes.linear import fast_linear
from polyneuron.neuron_core.training.data.packed_batch import NO_LABEL
from polyneuron.neuron_core.training.loop.head_loss import summed_head_loss
from polyneuron.neuron_core.training.loop.settings import TrainSettings

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of a trained tensor beside its step count."""


class Batch(Protocol):
    """Blocks of tokens, packed."""

    def inputs(self) -> dict[str, Any]:
        """The arguments of the model's forward."""

    @property
    def labels(self) -> Tensor:
        """The tokens to predict, int64 [B, T], labels[:, t] from position t - 1; `NO_LABEL` where nothing is predicted."""


class Stepper(Protocol):
    """One rank's share of the work."""

    rank: int
    world_size: int

    def backward(self, batch: Batch, weight: float) -> float:
        """Adds `weight` times the gradient of the batch's summed loss; returns that sum in nats."""

    def step(self, learning_rate: float) -> float:
        """One optimizer step from what was added; returns the gradient's norm before clipping."""

    def total(self, value: float) -> float:
        """The sum of `value` over all ranks."""

    def loss(self, batch: Batch) -> float:
        """The batch's summed loss in nats, without a gradient. Collective when the model is sharded."""

    def values(self) -> dict[str, Tensor]:
        """A copy of all trained tensors, whole, on the CPU. Collective."""

    def moments(self) -> dict[str, Tensor]:
        """Both moments of all trained tensors, whole, on the CPU, after at least one step. Collective."""

    def load(self, values: dict[str, Tensor], moments: dict[str, Tensor], step: int) -> None:
        """Restores what `values` and `moments` gave after `step` steps. Collective."""


def summed_loss(model: nn.Module, batch: Batch) -> Tensor:
    """The summed negative log likelihood in nats of predicted tokens (`summed_head_loss`). The head must be frozen."""
    with fast_linear():
        hidden = model.get_decoder()(**batch.inputs(), use_cache=False).last_hidden_state[:, :-1]  # type: ignore[operator]
        labels = batch.labels[:, 1:].to(hidden.device)
        predicted = labels != NO_LABEL
        return summed_head_loss(model, hidden[predicted], labels[predicted])


def n_predicted(batch: Batch) -> int:
    """The number of tokens of the batch that are predicted."""
    return int((batch.labels[:, 1:] != NO_LABEL).sum())


class PlainStepper:
    """One process, torch's own AdamW. `trained`: name -> parameter."""

    rank, world_size = 0, 1

    def __init__(self, model: nn.Module, trained: dict[str, nn.Parameter], settings: TrainSettings) -> None:
        self._model, self._trained, self._clip = model, trained, settings.clip_norm
        self.optimizer = torch.optim.AdamW(
            trained.values(),
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
        )

    def backward(self, batch: Batch, weight: float) -> float:
        """As `Stepper.backward` says, in one process."""
        loss = summed_loss(self._model, batch)
        (loss * weight).backward()
        return loss.item()

    def step(self, learning_rate: float) -> float:
        """As `Stepper.step` says, in one process."""
        norm = nn.utils.clip_grad_norm_(list(self._trained.values()), self._clip)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        if torch.isfinite(norm):
            self.optimizer.step()
        self.optimizer.zero_grad()
        return float(norm)

    def total(self, value: float) -> float:
        """As `Stepper.total` says, in one process."""
        return value

    @torch.no_grad()
    def loss(self, batch: Batch) -> float:
        """As `Stepper.loss` says, in one process."""
        return summed_loss(self._model, batch).item()

    def values(self) -> dict[str, Tensor]:
        """As `Stepper.values` says, in one process."""
        return {name: parameter.detach().cpu().clone() for name, parameter in self._trained.items()}

    def moments(self) -> dict[str, Tensor]:
        """As `Stepper.moments` says, in one process."""
        return {
            f"{name}/{moment}": self.optimizer.state[parameter][moment].cpu().clone()
            for name, parameter in self._trained.items()
            for moment in MOMENTS
        }

    @torch.no_grad()
    def load(self, values: dict[str, Tensor], moments: dict[str, Tensor], step: int) -> None:
        """As `Stepper.load` says, in one process."""
        for name, parameter in self._trained.items():
            parameter.copy_(values[name])
            self.optimizer.state[parameter] = {"step": torch.tensor(float(step))} | {
                moment: moments[f"{name}/{moment}"].to(parameter.device).clone() for moment in MOMENTS
            }
