"""Compact training: the base model is frozen, and each linear that holds chosen neurons gets one small
trainable tensor with only their rows or columns.

AdamW on these tensors is, step for step, AdamW with masked gradients on the full weights: its update is
elementwise, and a chosen entry's gradient does not depend on where the entry is stored. What is not chosen has
no gradient, no moments and no decay, and is never written.

Shapes: B sentences, T tokens, d_in and d_out features of a linear, n chosen neurons of one linear and group,
s its slices in a fused weight (2 for Phi-3's gate_up_proj, else 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.edits.targets import Target, parameter_of, read_values, require_fit, targets
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.passes.layer_major import Gather, whole
from polyneuron.neuron_core.sets.neuron_set import NeuronSet


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Inside, no parameter that the model has requires a gradient; after, those do that did before."""
    thawed = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in thawed:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in thawed:
            parameter.requires_grad_(True)


class CompactNeurons:
    """The neurons of a set as trainable tensors, put in place of their rows and columns in a frozen model.

    There is one tensor per key "<full parameter name>:<group>" of `edits.targets.targets`. Its shape is [s * n, d_in] for
    rows, [n, d_out] for columns, [n] for biases, laid out as `WeightEdit.values`; its dtype is `master_dtype`, its first
    value the model's own.

    While attached, the model's forward computes with the chosen rows and columns replaced:

    * rows (q, k, v, gate, up): the chosen features of the frozen product are overwritten by x @ rows^T + bias.
    * columns (down, o): base(x with the chosen features zeroed) + x[chosen] @ columns. Against
      base(x) + x[chosen] @ (columns - base columns) this needs no copy of the base columns, cannot cancel
      when trained values are far from the base's, and stays right whatever the base columns hold.

    Both are exact up to the order of summation: the error is that of rounding one product, not of the update. With the
    model's own values the output is therefore nearly, not bitwise, the base model's. No gradient flows through what was
    overwritten or zeroed. Nothing of the size of a full weight is made, forward or backward, and a frozen linear keeps no
    input for the backward pass. The hooks see inputs and outputs only, so weights may be sharded and gathered around each
    module's forward; the compact tensors themselves must be whole in each process.

    Products run in the dtype of the activations: under a bfloat16 base the float32 master values are rounded at each use,
    to what `to_edit` would give the model.

    Hooks and edits of others see the zeroed inputs and the base weights; to measure a trained model, detach and apply
    `to_edit`.
    """

    def __init__(
        self,
        model: nn.Module,
        neuron_set: NeuronSet,
        master_dtype: torch.dtype = torch.float32,
        gather: Gather = whole,
    ) -> None:
        """Copies the neurons' values out of `model`; `gather` makes one layer's parameters whole to read them. Raises
        SetError when the set is empty or of a model of another shape, or weights are sharded and not gathered."""
        anatomy = anatomy_of(model)
        require_fit(neuron_set, anatomy)
        if not len(neuron_set):
            raise SetError(f"The neuron set of {neuron_set.model!r} is empty: there is nothing to train")
        self.neuron_set = neuron_set
        self._model, self._is_attached = model, False
        self._dtypes: dict[str, torch.dtype] = {}
        self._places: dict[str, _Rows | _Columns] = {}
        for layer in sorted({layer for layer, _ in neuron_set.places()}):
            of_layer = targets(neuron_set, anatomy, layer)
            with gather([model.get_parameter(name) for name in {t.name: None for t in of_layer.values()}]):
                for key, target in of_layer.items():
                    self._add(key, target, parameter_of(model, target), master_dtype)

    def _add(self, key: str, target: Target, parameter: nn.Parameter, dtype: torch.dtype) -> None:
        path = target.name.rpartition(".")[0]
        place = self._places.setdefault(path, _Columns() if target.axis else _Rows())
        value = read_values(parameter, target).movedim(target.axis, 0)
        self._dtypes[key] = parameter.dtype
        place.values[key] = nn.Parameter(value.to(dtype, copy=True).contiguous())
        if target.name.endswith(".weight"):
            index = target.index.to(parameter.device)
            place.index = index if place.index is None else torch.cat([place.index, index])

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The trainable tensors by key; those of one attention or feed-forward block follow each other."""
        blocks: dict[str, dict[str, nn.Parameter]] = {}
        for path, place in self._places.items():
            blocks.setdefault(path.rpartition(".")[0], {}).update(place.values)
        return {key: value for values in blocks.values() for key, value in values.items()}

    @property
    def n_trainable(self) -> int:
        """The number of trainable scalars."""
        return sum(value.numel() for value in self.trained.values())

    @contextmanager
    def attached(self) -> Iterator[CompactNeurons]:
        """Inside, the model is frozen and computes with the trainable values in place of its neurons'; after, also after an
        exception, it is what it was, whose weights never changed. Raises SetError when they are attached already."""
        if self._is_attached:
            raise SetError("These neurons are attached to their model already; detach them first")
        with frozen(self._model), ExitStack() as hooks:
            self._is_attached = True
            hooks.callback(setattr, self, "_is_attached", False)
            for path, place in self._places.items():
                for hook in place.attach(self._model.get_submodule(path)):
                    hooks.enter_context(hook)
            yield self

    def to_edit(self, name: str | None = None, values: Mapping[str, Tensor] | None = None) -> WeightEdit:
        """The present values (or `values` of all tensors) as an edit, on the CPU, rounded to the model's dtypes."""
        chosen = self.trained if values is None else values
        rounded = {key: value.detach().to("cpu", self._dtypes[key]) for key, value in chosen.items()}
        return WeightEdit.from_values(self.neuron_set, rounded, name)


class _Place:
    """The chosen neurons of one linear: values by key, and the features of all weights among them in turn."""

    index: Tensor | None = None

    def __init__(self) -> None:
        self.values: dict[str, nn.Parameter] = {}

    def stacked(self, kind: str, dtype: torch.dtype) -> Tensor | None:
        """All groups' values of one kind, in the order of `index`; None when the linear has none."""
        values = [value.to(dtype) for key, value in self.values.items() if f".{kind}:" in key]
        return torch.cat(values) if len(values) > 1 else values[0] if values else None


class _Rows(_Place):
    """Output features of a linear."""

    def attach(self, linear: nn.Module) -> list[RemovableHandle]:
        return [linear.register_forward_hook(self._overwrite)]

    def _overwrite(self, linear: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        x, weight = args[0], self.stacked("weight", args[0].dtype)
        assert weight is not None and self.index is not None
        own = F.linear(x, weight, self.stacked("bias", x.dtype))
        return output.index_copy(-1, self.index, own.to(output.dtype))


class _Columns(_Place):
    """Input features of a linear."""

    _chosen: Tensor | None = None

    def attach(self, linear: nn.Module) -> list[RemovableHandle]:
        return [linear.register_forward_pre_hook(self._take_out), linear.register_forward_hook(self._add_own)]

    def _take_out(self, linear: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        others, self._chosen = _Split.apply(args[0], self.index)
        return others, *args[1:]

    def _add_own(self, linear: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        chosen, self._chosen = self._chosen, None
        assert chosen is not None
        weight = self.stacked("weight", chosen.dtype)
        assert weight is not None
        return output + (chosen @ weight).to(output.dtype)


class _Split(torch.autograd.Function):
    """x [..., d_in] as (x with the features `index` zeroed, those features [..., n]). Its backward is one copy; the two
    indexing operations would make, fill and add two more."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(index)
        return x.index_fill(-1, index, 0), x.index_select(-1, index)

    @staticmethod
    def backward(ctx: Any, d_others: Tensor, d_chosen: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (index,) = ctx.saved_tensors
        return d_others.index_copy(-1, index, d_chosen), None
