"""Low-rank adapters on the linears that hold chosen neurons (Hu et al. 2022), by peft, masked to those neurons' rows.

Over every neuron this is ordinary LoRA, the outside baseline of compact training; over some ffn neurons and all of
attention it is the masked LoRA of paper B (section 2.2). Merged into the weights either is a weight edit, so whatever
measures trained neurons measures it too.

Shapes: d_in and d_out features of a linear, n of its rows that adapt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.common.extras import extras_named
from polyneuron.neuron_core.edits.targets import Target, parameter_of, read_values, require_fit, targets
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import Anatomy, anatomy_of
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.model.stored_model import StoredModel
from polyneuron.neuron_core.passes.layer_major import Gather, whole
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.training.trainable.compact import frozen
from polyneuron.neuron_core.training.trainable.lora_spec import LoraSpec

_ADAPTER = "default"
_STD = 0.01
_A, _B = f".lora_A.{_ADAPTER}.weight", f".lora_B.{_ADAPTER}.weight"


def every_neuron(model_name: str, anatomy: Anatomy) -> NeuronSet:
    """A set of all neurons of all groups, `o` included: every weight of the decoder layers' linears."""
    indices = {
        (layer, group): range(anatomy.widths[group]) for layer in range(anatomy.n_layers) for group in GROUPS
    }
    return NeuronSet.from_indices(model_name, anatomy.widths, anatomy.n_layers, indices)


def with_attention_groups(ffn: NeuronSet, groups: Iterable[str], anatomy: Anatomy) -> NeuronSet:
    """The chosen neurons and, of every layer, all neurons of some attention groups: what masked LoRA trains."""
    return ffn | every_neuron(ffn.model, anatomy).restrict(groups)


def n_values(neurons: NeuronSet, anatomy: Anatomy) -> int:
    """The number of scalars that the neurons own, biases included."""
    of_one = {
        group: sum(
            1 if part.parameter.endswith("bias") else anatomy.hidden_size for part in anatomy.slices(group)
        )
        for group in GROUPS
    }
    return sum(len(neurons.indices(layer, group)) * of_one[group] for layer, group in neurons.places())


def rank_of_size(n: int, anatomy: Anatomy) -> int:
    """The rank, at least 1, whose adapters have nearest to `n` scalars in all."""
    per_rank = sum(rows + columns for rows, columns in _linears(anatomy).values()) * anatomy.n_layers
    return max(1, round(n / per_rank))


def _linears(anatomy: Anatomy) -> dict[str, tuple[int, int]]:
    """Output and input features of a layer's linears, by path inside the layer."""
    linears: dict[str, tuple[int, int]] = {}
    for group in GROUPS:
        for part in anatomy.slices(group):
            path, _, kind = part.parameter.rpartition(".")
            if kind == "weight":
                rows, columns = linears.get(path, (0, 0))
                width, hidden = anatomy.widths[group], anatomy.hidden_size
                linears[path] = (hidden, columns + width) if part.axis else (rows + width, hidden)
    return linears


class LowRank:
    """Adapters of a `LoraSpec` on the frozen linears of a model, in float32.

    The neuron set is the mask: of each linear only the rows of chosen neurons adapt. The other rows of B are not even
    stored, so they have no gradient, no moments and no decay: the product of the n stored rows is laid into zeros of
    d_out. A is drawn from `seed` and B is 0, so the model starts as it was.

    In a fused qkv_proj (Phi-3), q, k and v share one A. A fused gate_up_proj is no different: its up rows do not adapt.
    """

    def __init__(
        self, model: nn.Module, neurons: NeuronSet, spec: LoraSpec, seed: int = 0, gather: Gather = whole
    ) -> None:
        """`gather`: makes a layer whole to merge the adapters into it. Raises SetError when the set is empty, of a model of
        another shape, or holds a part of the neurons of a group that are columns (o; with `spec.ffn` "all", ffn): B masks
        rows."""
        self.neuron_set, self.spec = neurons, spec
        self._model, self._seed, self._gather = model, seed, gather
        self._anatomy = anatomy_of(model)
        require_fit(neurons, self._anatomy)
        self._rows = self._adapted_rows()
        self._parameters: dict[str, nn.Parameter] = {}

    def _adapted_rows(self) -> dict[str, Tensor]:
        """The rows that adapt of each linear, int64 [n], ascending, by the linear's full name."""
        if not len(self.neuron_set):
            raise SetError(f"The neuron set of {self.neuron_set.model!r} is empty: there is nothing to adapt")
        anatomy, adapted = self._anatomy, dict[str, list[Tensor]]()
        gate = anatomy.slices("ffn")[0]
        for layer, group in self.neuron_set.places():
            indices = torch.from_numpy(self.neuron_set.indices(layer, group).copy())
            for part in anatomy.slices(group):
                linear, _, kind = anatomy.parameter_name(layer, part).rpartition(".")
                if kind != "weight" or (group == "ffn" and self.spec.ffn == "gate" and part != gate):
                    continue
                if part.axis == 1 and len(indices) < anatomy.widths[group]:
                    raise SetError(
                        f"Adapters on {linear} cannot be masked to {len(indices)} of its {anatomy.widths[group]} input "
                        f"features: give all {group} neurons of layer {layer} or none of them, or adapt the gate alone"
                    )
                rows = torch.arange(anatomy.hidden_size) if part.axis else indices + part.offset
                adapted.setdefault(linear, []).append(rows)
        return {linear: torch.cat(parts).unique() for linear, parts in adapted.items()}

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The adapters' tensors by name, A [rank, d_in] and B [n, rank]; there are none unless attached."""
        return self._parameters

    @contextmanager
    def attached(self) -> Iterator[LowRank]:
        """Inside, the model is frozen and computes with the adapters; after, it is what it was."""
        with extras_named():
            from peft import LoraConfig, LoraModel

        config = LoraConfig(r=self.spec.rank, lora_alpha=self.spec.alpha, target_modules=list(self._rows))  # type: ignore[arg-type]
        with frozen(self._model):
            with torch.random.fork_rng():
                torch.manual_seed(self._seed)
                tuner = LoraModel(self._model, config, _ADAPTER)
                self._prepare()
            named = dict(self._model.named_parameters())
            self._parameters = {name: named[name] for name in named if name.endswith((_A, _B))}
            try:
                yield self
            finally:
                tuner.unload()
                self._parameters = {}

    def _prepare(self) -> None:
        """Gives peft's adapters their first values, dtype and masks."""
        for linear, rows in self._rows.items():
            layer: Any = self._model.get_submodule(linear)
            a, b = layer.lora_A[_ADAPTER], layer.lora_B[_ADAPTER]
            a.float(), b.float()
            if self.spec.init == "normal":
                nn.init.normal_(a.weight, std=_STD)
            if len(rows) < b.out_features:
                b.register_forward_hook(_laid_into(b.out_features, rows.to(b.weight.device)))
                b.weight = nn.Parameter(b.weight.detach()[: len(rows)].clone())

    def to_edit(
        self, name: str, values: Mapping[str, Tensor], stored: StoredModel | None = None
    ) -> WeightEdit:
        """The weights with the adapters of `values` (see `trained`) merged in. Call when detached. stored: where the
        weights are read from when the model holds them in 4 bits. What a chosen neuron owns beside its adapted rows
        (biases; an ffn neuron's up row and down column) is in the edit with the model's own values."""
        model, gather = (stored.model, stored.gather) if stored else (self._model, self._gather)
        merged = {}
        for layer in range(self._anatomy.n_layers):
            places = targets(self.neuron_set, self._anatomy, layer)
            with gather([model.get_parameter(n) for n in {t.name: None for t in places.values()}]):
                for key, target in places.items():
                    value = read_values(parameter_of(model, target), target).cpu()
                    linear, _, kind = target.name.rpartition(".")
                    if kind == "weight" and linear in self._rows:
                        value = self._merged(value, target, linear, values)
                    merged[key] = value.movedim(target.axis, 0)
        return WeightEdit.from_values(self.neuron_set, merged, name)

    def _merged(self, value: Tensor, target: Target, linear: str, values: Mapping[str, Tensor]) -> Tensor:
        rows = self._rows[linear]
        delta = self.spec.alpha / self.spec.rank * values[linear + _B] @ values[linear + _A]  # [n, d_in]
        if target.axis:
            return (value.float() + delta.index_select(1, target.index)).to(value.dtype)
        # Rows that do not adapt are not added to, not even 0: -0 would become 0.
        adapts = torch.isin(target.index, rows)
        chosen = delta[torch.searchsorted(rows, target.index[adapts])]
        value[adapts] = (value[adapts].float() + chosen).to(value.dtype)
        return value


def _laid_into(d_out: int, rows: Tensor) -> Callable[..., Tensor]:
    def hook(linear: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return output.new_zeros(*output.shape[:-1], d_out).index_copy(-1, rows, output)

    return hook
