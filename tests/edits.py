"""Random neurons, edits of them, and how far apart two trainings of them may end."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.sets.neuron_set import NeuronSet

ROUNDED_64 = 1e-7
"""What float64 may move a value that AdamW trains, on any processor. AdamW divides by sqrt(v) + 1e-8: an error d of a gradient
moves a value by up to rate x d / 1e-8 a step, and 20 steps of 5e-3 with d = 1e-14 (50 roundings of a gradient of 1) make
1e-7. Found: 3e-12."""
APART_32 = 1e-2
"""How far apart two float32 trainings by AdamW may end, as a share of the way (see `apart`), on any processor. Single values have
no useful bound: where a gradient cancels to its own rounding error, the step of its value, a whole rate, has a direction by
chance. With errors of v = 1e-5 of a usual gradient (100 roundings) a share 2v of all values is in such a place, which parts
the ways by sqrt(2v), 5e-3 of their length. Found: 1e-6, and 1e-4 with one such value. Decay forgotten: 0.03."""


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


def apart(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> float:
    """The distance between two ends of a training over the distance from its start to the second, over all values."""
    assert found.keys() == wanted.keys() == start.keys()
    between = sum(float((found[key] - value).double().square().sum()) for key, value in wanted.items())
    way = sum(float((start[key] - value).double().square().sum()) for key, value in wanted.items())
    return math.sqrt(between / way)
