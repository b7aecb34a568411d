"""Compact training: the base model is frozen, and each linear that holds chosen neurons gets one small
trainable tensor with only their rows or columns.

AdamW on these tensors is, step for step, AdamW with masked gradients on the full weights: its update is
elementwise, and a chosen entry's gradient does not depend on where the entry is stored. What is not chosen has
no gradient, no moments and no decay, and is never written.

Shapes: B sentences, T tokens, d_in and d_out features of a linear, n chosen neurons of one linear and group,
s its slices in a fused weight (2 for Phi-3's gate_up_proj, else 1).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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

_COARSE = (torch.bfloat16, torch.float16)


class CompactNeurons(nn.Module):
    """The neurons of a set as trainable tensors, put in place of their rows and columns in a frozen model.

    One parameter per key "<full parameter name>:<group>" of `edit_targets.targets`; that key is also its name
    in `named_parameters()` and `state_dict()`. Shape [s * n, d_in] for rows, [n, d_out] for columns, [n] for
    biases, laid out as `WeightEdit.values`; dtype `master_dtype`; first value: the model's own.

    While attached, the model's forward computes with the chosen rows and columns replaced:

    * rows (q, k, v, gate, up): the chosen features of the frozen product are overwritten by x @ rows^T + bias.
    * columns (down, o): base(x with the chosen features zeroed) + x[chosen] @ columns. Against
      base(x) + x[chosen] @ (columns - base columns) this needs no copy of the base columns, cannot cancel
      when trained values are far from the base's, and stays right whatever the base columns hold.

    Both are exact up to the order of summation: the error is that of rounding one product, not of the update.
    With the model's own values the output is therefore nearly, not bitwise, the base model's. No gradient
    flows through what was overwritten or zeroed. Nothing of the size of a full weight is made, forward or
    backward, and a frozen linear keeps no input for the backward pass. The hooks see inputs and outputs only,
    so weights may be sharded and gathered around each module's forward; the compact tensors themselves must be
    whole in each process.

    Products run in the dtype of the activations: under a bfloat16 base the float32 master values are rounded
    at each use, to what `to_edit` would give the model.

    Hooks and edits of others see the zeroed inputs and the base weights; to measure a trained model, detach
    and apply `to_edit`.
    """

    def __init__(
        self,
        model: nn.Module,
        neuron_set: NeuronSet,
        master_dtype: torch.dtype = torch.float32,
        gather: Gather = whole,
    ) -> None:
        """Copies the neurons' values out of `model`; `gather` makes one layer's parameters whole to read them.

        Raises:
            SetError: the set is empty or of a model of another shape, or weights are sharded and not gathered.
        """
        super().__init__()
        anatomy = anatomy_of(model)
        require_fit(neuron_set, anatomy)
        if not len(neuron_set):
            raise SetError(f"The neuron set of {neuron_set.model!r} is empty: there is nothing to train")
        if master_dtype in _COARSE:
            warnings.warn(
                f"Master values in {str(master_dtype).removeprefix('torch.')} lose most of the training: next to a "
                "weight of 0.02 an update of 5e-5 rounds to nothing. Use torch.float32",
                stacklevel=2,
            )
        self.neuron_set = neuron_set
        self._dtypes: dict[str, torch.dtype] = {}
        self._model = [model]  # a list, so that the base is not a submodule of the trainable part
        self._places: dict[str, _Rows | _Columns] = {}
        self._handles: list[RemovableHandle] = []
        self._thawed: list[nn.Parameter] = []
        for layer in sorted({layer for layer, _ in neuron_set.places()}):
            found = targets(neuron_set, anatomy, layer)
            with gather([model.get_parameter(name) for name in {t.name: None for t in found.values()}]):
                for key, target in found.items():
                    self._add(key, target, parameter_of(model, target), master_dtype)

    def _add(self, key: str, target: Target, parameter: nn.Parameter, dtype: torch.dtype) -> None:
        path = target.name.rpartition(".")[0]
        if path not in self._places:
            self._places[path] = _Columns() if target.axis else _Rows()
            _nest(self, path, self._places[path])
        value = read_values(parameter, target).movedim(target.axis, 0)
        self._dtypes[key] = parameter.dtype
        self._places[path].add(
            key.rpartition(".")[2], target.index.to(parameter.device), value.to(dtype, copy=True).contiguous()
        )

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The trainable tensors by key."""
        return dict(self.named_parameters())

    @property
    def n_trainable(self) -> int:
        """Number of trainable scalars."""
        return sum(parameter.numel() for parameter in self.parameters())

    def attach(self) -> None:
        """Freezes the model and puts the trainable values in place of its neurons' until `detach`.

        Raises:
            SetError: it is attached already.
        """
        if self._handles:
            raise SetError("These neurons are attached to their model already; detach them first")
        (model,) = self._model
        self._thawed = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in self._thawed:
            parameter.requires_grad_(False)
        for path, place in self._places.items():
            self._handles += place.attach(model.get_submodule(path))

    def detach(self) -> None:
        """Leaves the model as it was before `attach`, gradients' flags included; its weights never changed."""
        while self._handles:
            self._handles.pop().remove()
        while self._thawed:
            self._thawed.pop().requires_grad_(True)

    @contextmanager
    def attached(self) -> Iterator[CompactNeurons]:
        """Attached inside, detached after, also after an exception."""
        self.attach()
        try:
            yield self
        finally:
            self.detach()

    def to_edit(self, name: str | None = None, values: Mapping[str, Tensor] | None = None) -> WeightEdit:
        """The present values (or `values` of all parameters) as an edit, on the CPU, rounded to the model's dtypes."""
        found = dict(self.named_parameters()) if values is None else values
        values = {key: value.detach().to("cpu", self._dtypes[key]) for key, value in found.items()}
        return WeightEdit.from_values(self.neuron_set, values, name)

    def get_extra_state(self) -> Tensor:
        """The set's fingerprint, uint8 [16], so that a state is not loaded into other neurons."""
        return torch.tensor(list(bytes.fromhex(self.neuron_set.fingerprint())), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Raises SetError when the state is of another neuron set."""
        if bytes(state.tolist()) != bytes.fromhex(self.neuron_set.fingerprint()):
            raise SetError(
                f"The state to load was trained on other neurons than {self.neuron_set!r}; give the set it was "
                "trained with"
            )


class _Place(nn.Module):
    """The chosen neurons of one linear: parameters "weight:<group>" (and "bias:<group>"), in order of adding."""

    index: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("index", torch.zeros(0, dtype=torch.int64), persistent=False)

    def add(self, name: str, index: Tensor, value: Tensor) -> None:
        self.register_parameter(name, nn.Parameter(value))
        if name.startswith("weight:"):
            self.index = torch.cat([self.index.to(index.device), index])

    def stacked(self, kind: str, dtype: torch.dtype) -> Tensor | None:
        """All groups' values of one kind, in the order of `index`; None when the linear has none."""
        found = [value for name, value in self._parameters.items() if name.startswith(kind)]
        values = [value.to(dtype) for value in found if value is not None]
        return torch.cat(values) if len(values) > 1 else values[0] if values else None


class _Rows(_Place):
    """Output features of a linear."""

    def attach(self, linear: nn.Module) -> list[RemovableHandle]:
        return [linear.register_forward_hook(self._overwrite)]

    def _overwrite(self, linear: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        x = args[0]
        weight = self.stacked("weight:", x.dtype)
        assert weight is not None
        own = F.linear(x, weight, self.stacked("bias:", x.dtype))
        return output.index_copy(-1, self.index, own.to(output.dtype))


class _Columns(_Place):
    """Input features of a linear."""

    _chosen: Tensor | None = None

    def attach(self, linear: nn.Module) -> list[RemovableHandle]:
        return [
            linear.register_forward_pre_hook(self._take_out),
            linear.register_forward_hook(self._add_own),
        ]

    def _take_out(self, linear: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        others, self._chosen = _Split.apply(args[0], self.index)
        return others, *args[1:]

    def _add_own(self, linear: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        chosen, self._chosen = self._chosen, None
        assert chosen is not None
        weight = self.stacked("weight:", chosen.dtype)
        assert weight is not None
        return output + (chosen @ weight).to(output.dtype)


class _Split(torch.autograd.Function):
    """x [..., d_in] as (x with the features `index` zeroed, those features [..., n]).

    Its backward is one copy; the two indexing operations would make, fill and add two more.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(index)
        return x.index_fill(-1, index, 0), x.index_select(-1, index)

    @staticmethod
    def backward(ctx: Any, d_others: Tensor, d_chosen: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (index,) = ctx.saved_tensors
        return d_others.index_copy(-1, index, d_chosen), None


def _nest(root: nn.Module, path: str, leaf: nn.Module) -> None:
    """Registers `leaf` at a dotted path, so that its parameters' names are the model's."""
    *parents, last = path.split(".")
    for part in parents:
        children: Mapping[str, nn.Module | None] = root._modules
        if part not in children:
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    root.add_module(last, leaf)
