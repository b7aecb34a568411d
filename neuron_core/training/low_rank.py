"""LoRA over all linears of the decoder layers: the outside baseline of compact training (Hu et al. 2022), by peft.

Merged into the weights it is a weight edit of every neuron, so whatever measures trained neurons measures it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from neuron_core.anatomy import Anatomy, anatomy_of
from neuron_core.edit_targets import parameter_of, read_values, targets
from neuron_core.groups import GROUPS
from neuron_core.layer_major import Gather, whole
from neuron_core.neuron_set import NeuronSet
from neuron_core.weight_edit import WeightEdit

_ADAPTER = "default"
_A, _B = f".lora_A.{_ADAPTER}.weight", f".lora_B.{_ADAPTER}.weight"


def every_neuron(model_name: str, anatomy: Anatomy) -> NeuronSet:
    """All neurons of all groups, `o` included: every weight of the decoder layers' linears."""
    indices = {
        (layer, group): range(anatomy.widths[group]) for layer in range(anatomy.n_layers) for group in GROUPS
    }
    return NeuronSet.from_indices(model_name, anatomy.widths, anatomy.n_layers, indices)


def n_values(neurons: NeuronSet, anatomy: Anatomy) -> int:
    """Scalars that the neurons own, biases included."""
    widths = {group: _values_of_one(group, anatomy) for group in GROUPS}
    return sum(len(neurons.indices(layer, group)) * widths[group] for layer, group in neurons.places())


def _values_of_one(group: str, anatomy: Anatomy) -> int:
    return sum(
        1 if part.parameter.endswith("bias") else anatomy.hidden_size for part in anatomy.slices(group)
    )


def rank_of_size(n: int, anatomy: Anatomy) -> int:
    """The rank, at least 1, whose adapters have nearest to `n` scalars in all."""
    per_rank = sum(rows + columns for rows, columns in _linears(anatomy).values()) * anatomy.n_layers
    return max(1, round(n / per_rank))


def _linears(anatomy: Anatomy) -> dict[str, tuple[int, int]]:
    """Output and input features of a layer's linears, by path inside the layer."""
    found: dict[str, tuple[int, int]] = {}
    for group in GROUPS:
        for part in anatomy.slices(group):
            path, _, kind = part.parameter.rpartition(".")
            if kind == "weight":
                rows, columns = found.get(path, (0, 0))
                width = anatomy.widths[group]
                found[path] = (
                    (rows + width, anatomy.hidden_size)
                    if part.axis == 0
                    else (anatomy.hidden_size, columns + width)
                )
    return found


class LowRank:
    """Adapters W + (alpha / rank) B A on the frozen linears of a model, alpha = 2 rank, in float32.

    A [rank, d_in] is drawn from `seed`, B [d_out, rank] is 0, so the model starts as it was.
    """

    def __init__(
        self, model: nn.Module, neurons: NeuronSet, rank: int, seed: int = 0, gather: Gather = whole
    ) -> None:
        """`neurons`: `every_neuron` of the model; `gather`: makes a layer whole to merge the adapters into it."""
        self.neuron_set, self.rank = neurons, rank
        self._model, self._seed, self._gather = model, seed, gather
        self._anatomy = anatomy_of(model)
        self._parameters: dict[str, nn.Parameter] = {}

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The adapters' tensors by name; empty unless attached."""
        return self._parameters

    @contextmanager
    def attached(self) -> Iterator[LowRank]:
        """Inside, the model is frozen and computes with the adapters; after, it is what it was."""
        from peft import LoraConfig, LoraModel

        layers = [f"{self._anatomy.family.layers_path}.{i}" for i in range(self._anatomy.n_layers)]
        names = [f"{layer}.{path}" for layer in layers for path in _linears(self._anatomy)]
        thawed = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        config = LoraConfig(r=self.rank, lora_alpha=2 * self.rank, target_modules=names)
        with torch.random.fork_rng():
            torch.manual_seed(self._seed)
            tuner = LoraModel(self._model, config, _ADAPTER)
        found = dict(self._model.named_parameters())
        self._parameters = {name: found[name] for name in found if name.endswith((_A, _B))}
        for parameter in self._parameters.values():
            parameter.data = parameter.data.float()
        try:
            yield self
        finally:
            tuner.unload()
            self._parameters = {}
            for parameter in thawed:
                parameter.requires_grad_(True)

    def to_edit(self, name: str, values: Mapping[str, Tensor]) -> WeightEdit:
        """The weights with the adapters of `values` (see `trained`) merged in. Call when detached."""
        found = {}
        for layer in range(self._anatomy.n_layers):
            places = targets(self.neuron_set, self._anatomy, layer)
            with self._gather(
                [self._model.get_parameter(n) for n in {t.name: None for t in places.values()}]
            ):
                for key, target in places.items():
                    parameter = parameter_of(self._model, target)
                    value = read_values(parameter, target).cpu()
                    module, _, kind = target.name.rpartition(".")
                    if kind == "weight":
                        delta = 2 * values[module + _B] @ values[module + _A]
                        value = (value.float() + delta.index_select(target.axis, target.index)).to(
                            parameter.dtype
                        )
                    found[key] = value.movedim(target.axis, 0)
        return WeightEdit.from_values(self.neuron_set, found, name)
