"""Random neurons and edits of them, for tests that compare two ways to the same thing."""

from typing import Any

import numpy as np
import torch

from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.sets.neuron_set import NeuronSet


def random_neurons(model: Any, n: int, groups: tuple[str, ...] = GROUPS, first_layer: int = 0) -> NeuronSet:
    """`n` neurons of each group in each layer from `first_layer` on, the same at each call. model: or its config."""
    anatomy, rng = anatomy_of(model), np.random.default_rng(0)
    indices = {
        (layer, group): rng.choice(anatomy.widths[group], n, replace=False)
        for layer in range(first_layer, anatomy.n_layers)
        for group in groups
    }
    return NeuronSet.from_indices("tiny", anatomy.widths, anatomy.n_layers, indices)


def edits_of(model: Any, neurons: NeuronSet, noise: float) -> dict[str, WeightEdit | None]:
    """Nothing ("base"), a deactivation ("zero"), and "values": those of `model` with noise of `noise` times their
    standard deviation."""
    captured = WeightEdit.capture(neurons, model).values
    assert captured is not None
    generator = torch.Generator().manual_seed(1)
    values = {
        key: value + noise * value.std() * torch.randn(value.shape, generator=generator)
        for key, value in captured.items()
    }
    return {
        "base": None,
        "zero": WeightEdit.zero(neurons, "zero"),
        "values": WeightEdit.from_values(neurons, values, "values"),
    }
