"""Where a neuron set lies in the parameters of a model, and whether it fits that model at all."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.model.anatomy import Anatomy, WeightSlice
from polyneuron.neuron_core.sets.neuron_set import NeuronSet


@dataclass(frozen=True)
class Target:
    """Rows (axis 0) or columns (axis 1) `index` of the parameter `name`; for a fused one, of all its slices in turn."""

    name: str
    axis: int
    index: Tensor


def require_fit(neuron_set: NeuronSet, anatomy: Anatomy) -> None:
    """Raises SetError when the set is of a model of another shape."""
    numbers = [("layers", neuron_set.n_layers, anatomy.n_layers)]
    numbers += [
        (f"{group} neurons a layer", n, anatomy.widths[group]) for group, n in neuron_set.widths.items()
    ]
    for what, of_set, of_model in numbers:
        if of_set != of_model:
            raise SetError(
                f"The neuron set is of {neuron_set.model!r} with {of_set} {what}, but this {anatomy.model_type} model has "
                f"{of_model}; give the model the set was made for"
            )


def targets(neuron_set: NeuronSet, anatomy: Anatomy, only_layer: int | None = None) -> dict[str, Target]:
    """Everything the neurons own, by "<full parameter name>:<group>"; of one layer, or of all."""
    by_key = {}
    for layer, group in neuron_set.places():
        if only_layer is not None and layer != only_layer:
            continue
        parts: dict[str, list[WeightSlice]] = {}
        for part in anatomy.slices(group):
            parts.setdefault(anatomy.parameter_name(layer, part), []).append(part)
        indices = neuron_set.indices(layer, group)
        for name, slices in parts.items():
            index = torch.cat([torch.from_numpy(indices + part.offset) for part in slices])
            by_key[f"{name}:{group}"] = Target(name, slices[0].axis, index)
    return by_key


def parameter_of(model: nn.Module, target: Target) -> nn.Parameter:
    """The parameter itself. Raises SetError when it is not whole in this process."""
    parameter = model.get_parameter(target.name)
    if parameter.ndim <= target.axis or parameter.shape[target.axis] <= int(target.index.max()):
        raise SetError(
            f"{target.name} has shape {list(parameter.shape)} here: its values are sharded over processes, "
            "or packed. Gather the layer and apply to that layer alone"
        )
    return parameter


@torch.no_grad()
def read_values(parameter: nn.Parameter, target: Target) -> Tensor:
    """A copy of the target's rows or columns, laid out as in the parameter."""
    return parameter.index_select(target.axis, target.index.to(parameter.device))
