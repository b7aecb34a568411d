"""The slow oracle of compact training: whole weights that require gradients, masked the way papers publish it.

Every touched matrix keeps a full gradient and full moments. Before a step the gradients outside the neurons are
zeroed; after it the entries outside them get their old values back, because decay has moved them. Nothing here
shares code with compact training but `Anatomy.slices`, which says what a neuron's parameters are.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.training.loop.settings import TrainSettings
from polyneuron.neuron_core.training.loop.stepper import Batch


def masks_of(model: Any, neurons: NeuronSet) -> dict[str, Tensor]:
    """For each parameter that neurons own a part of, True at their entries; the parameter's shape."""
    anatomy, parameters = anatomy_of(model), dict(model.named_parameters())
    masks: dict[str, Tensor] = {}
    for layer, group, neuron in neurons:
        for part in anatomy.slices(group):
            name = anatomy.parameter_name(layer, part)
            if name not in masks:
                masks[name] = torch.zeros_like(parameters[name], dtype=torch.bool)
            masks[name].select(part.axis, part.offset + neuron).fill_(True)
    return masks


class MaskedAdamW:
    """AdamW over whole matrices whose gradients, moments and decay touch the neurons' entries alone."""

    def __init__(self, model: Any, neurons: NeuronSet, **settings: Any) -> None:
        self.masks = masks_of(model, neurons)
        parameters = dict(model.named_parameters())
        self.touched = {name: parameters[name].requires_grad_(True) for name in self.masks}
        self.optimizer = torch.optim.AdamW(self.touched.values(), **settings)

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients now in the model, which are cleared after it."""
        before = {}
        for name, parameter in self.touched.items():
            assert parameter.grad is not None
            parameter.grad.mul_(self.masks[name])
            before[name] = parameter.clone()
        self.optimizer.step()
        for name, parameter in self.touched.items():
            parameter.copy_(torch.where(self.masks[name], parameter, before[name]))
        self.optimizer.zero_grad(set_to_none=True)


class MaskedStepper:
    """The published way as a `Stepper` of one process: loss over whole logits, clipping of what the masks leave."""

    rank, world_size = 0, 1

    def __init__(self, model: Any, neurons: NeuronSet, settings: TrainSettings) -> None:
        self.model, self.settings = model, settings
        decay = settings.weight_decay
        self.masked = MaskedAdamW(model, neurons, lr=settings.learning_rate, weight_decay=decay)

    def backward(self, batch: Batch, weight: float) -> float:
        logits = self.model(**batch.inputs(), use_cache=False).logits[:, :-1]
        loss = cross_entropy(logits.flatten(0, 1), batch.labels[:, 1:].flatten(), reduction="sum")
        (loss * weight).backward()
        return loss.item()

    def step(self, learning_rate: float) -> float:
        for name, parameter in self.masked.touched.items():
            assert parameter.grad is not None
            parameter.grad.mul_(self.masked.masks[name])
        norm = torch.nn.utils.clip_grad_norm_(list(self.masked.touched.values()), self.settings.clip_norm)
        for group in self.masked.optimizer.param_groups:
            group["lr"] = learning_rate
        self.masked.step()
        return float(norm)

    def total(self, value: float) -> float:
        return value
