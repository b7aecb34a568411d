"""Where a neuron set lies in the parameters of a model, and whether it fits that model at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.model.anatomy import Anatomy, WeightSlice
from polyneuron.neuron_core.sets.neuron_set import NeuronSet

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Target:
    """Rows (axis 0) or columns (axis 1) `index` of the parameter `name`; for a fused one, of all its slices
    in turn.
    """

    name: str
    axis: int
    index: Tensor


def require_fit(which: NeuronSet, anatomy: Anatomy) -> None:
    """Raises SetError when the set is of a model of another shape."""
    if which.n_layers != anatomy.n_layers:
        raise SetError(
            f"The neuron set is of {which.model!r} with {which.n_layers} layers, but this "
            f"{anatomy.model_type} model has {anatomy.n_layers}; give the model the set was made for"
        )
    for group, width in which.widths.items():
        if width != anatomy.widths[group]:
            raise SetError(
                f"The neuron set is of {which.model!r} with {width} {group} neurons a layer, but this "
                f"{anatomy.model_type} model has {anatomy.widths[group]}; give the model the set was made for"
            )


def targets(which: NeuronSet, anatomy: Anatomy, only_layer: int | None = None) -> dict[str, Target]:
    """Everything the neurons own, by "<full parameter name>:<group>"; of one layer, or of all."""
    found = {}
    for layer, group in which.places():
        if only_layer is not None and layer != only_layer:
            continue
        parts: dict[str, list[WeightSlice]] = {}
        for part in anatomy.slices(group):
            parts.setdefault(anatomy.parameter_name(layer, part), []).append(part)
        for name, slices in parts.items():
            index = torch.cat([_offset(which.indices(layer, group), part.offset) for part in slices])
            found[f"{name}:{group}"] = Target(name, slices[0].axis, index)
    return found


def _offset(indices: NDArray[Any], offset: int) -> Tensor:
    return torch.from_numpy(indices + offset)


def parameter_of(model: nn.Module, target: Target) -> nn.Parameter:
    """The parameter itself. Raises SetError when it is not whole in this process."""
    parameter = model.get_parameter(target.name)
    if parameter.ndim <= target.axis or parameter.shape[target.axis] <= int(target.index.max()):
        raise SetError(
            f"{target.name} has shape {list(parameter.shape)} here: its values are sharded over processes, "
            "or packed. Gather the layer and use applied_to_layer"
        )
    return parameter


@torch.no_grad()
def read_values(parameter: nn.Parameter, target: Target) -> Tensor:
    """A copy of the target's rows or columns, laid out as in the parameter."""
    return parameter.index_select(target.axis, target.index.to(parameter.device))
