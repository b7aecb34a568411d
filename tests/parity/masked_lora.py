"""The slow oracle of masked LoRA: every adapted weight is made whole as W + (alpha / r) (B * M) A, with a B of all rows.

A is taken from the adapters under test; B is whole, and AdamW runs over it whole. Nothing else is shared with them but
`Anatomy.slices`, which says what a neuron's parameters are.
"""

from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.training.loop.settings import TrainSettings
from polyneuron.neuron_core.training.loop.stepper import Batch
from polyneuron.neuron_core.training.trainable.lora_spec import LoraSpec


def masks_of_rows(model: Any, neurons: NeuronSet) -> dict[str, Tensor]:
    """M of each adapted weight, bool [d_out, 1]: rows of attention neurons and gate rows of ffn neurons."""
    anatomy, parameters = anatomy_of(model), dict(model.named_parameters())
    masks: dict[str, Tensor] = {}
    for layer, group, neuron in neurons:
        for part in anatomy.slices(group)[: 1 if group == "ffn" else None]:
            name = anatomy.parameter_name(layer, part)
            if name.endswith("bias"):
                continue
            if name not in masks:
                masks[name] = torch.zeros(len(parameters[name]), 1, dtype=torch.bool)
            masks[name][slice(None) if part.axis else part.offset + neuron] = True
    return masks


class ExplicitLora:
    """The model with its adapters spelt out, trained by plain AdamW; a `Stepper` of one process."""

    rank, world_size = 0, 1

    def __init__(
        self,
        model: Any,
        neurons: NeuronSet,
        spec: LoraSpec,
        first_a: dict[str, Tensor],
        settings: TrainSettings,
    ) -> None:
        """`first_a`: A [rank, d_in] by weight name."""
        self.model, self.scale, self.clip = model, spec.alpha / spec.rank, settings.clip_norm
        self.base = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.masks = masks_of_rows(model, neurons)
        assert first_a.keys() == self.masks.keys()
        self.a = {name: value.clone().requires_grad_() for name, value in first_a.items()}
        self.b = {
            name: first_a[name].new_zeros(len(mask), spec.rank).requires_grad_()
            for name, mask in self.masks.items()
        }
        self.optimizer = torch.optim.AdamW(
            [*self.a.values(), *self.b.values()],
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
        )

    def weights(self) -> dict[str, Tensor]:
        """All parameters, the adapted ones with their adapters."""
        return self.base | {
            name: self.base[name] + self.scale * (self.b[name] * mask) @ self.a[name]
            for name, mask in self.masks.items()
        }

    def loss(self, batch: Batch) -> Tensor:
        """Summed negative log likelihood in nats, from whole logits."""
        arguments = {**batch.inputs(), "use_cache": False}
        logits = functional_call(self.model, self.weights(), kwargs=arguments, args=()).logits[:, :-1]
        return cross_entropy(logits.flatten(0, 1), batch.labels[:, 1:].flatten(), reduction="sum")

    def backward(self, batch: Batch, weight: float) -> float:
        loss = self.loss(batch)
        (loss * weight).backward()
        return loss.item()

    def step(self, learning_rate: float) -> float:
        norm = torch.nn.utils.clip_grad_norm_([*self.a.values(), *self.b.values()], self.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(norm)

    def total(self, value: float) -> float:
        return value
