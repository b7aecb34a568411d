"""WeightEdit: a neuron set plus the values its rows and columns take. Live models are restored bit for bit.

Deactivation, trained neurons and random controls are all WeightEdits. `n` below is the number of neurons of
one (layer, group); a value tensor stacks them first, so columns of a weight are stored transposed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.edits.targets import Target, parameter_of, read_values, require_fit, targets
from polyneuron.neuron_core.model.anatomy import Anatomy, anatomy_of
from polyneuron.neuron_core.model.whole import require_whole
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.set_file import SetFile

Kind = Literal["zero", "values"]
_FILE = SetFile("edit", "WeightEdit.save", "polyneuron.weight_edit", ("kind", "name"))


@dataclass(frozen=True, eq=False)
class WeightEdit:
    """What the rows and columns of a neuron set become; made by `zero`, `scaled`, `from_values`, `capture` or `load`."""

    neuron_set: NeuronSet
    """The neurons that change."""
    values: Mapping[str, Tensor] | None
    """None: weights and biases become 0. Else one tensor [s * n, ...] per key "<full parameter name>:<group>", the neurons in
    the order of `neuron_set.indices(layer, group)`; s is 1, or the number of slices that a fused parameter gives the group
    (Phi-3's gate_up_proj: all gate rows, then all up rows)."""
    name: str
    """What reports call the variant."""

    def __repr__(self) -> str:
        return f"WeightEdit({self.name!r}, {self.kind} of {self.neuron_set!r})"

    @property
    def kind(self) -> Kind:
        """Whether the neurons are deactivated ("zero") or take values."""
        return "zero" if self.values is None else "values"

    @classmethod
    def zero(cls, neuron_set: NeuronSet, name: str | None = None) -> WeightEdit:
        """Deactivates the neurons: all their parameters, biases included, become 0 (paper A, section 2.1). Raises SetError for
        what is no set, naming the sets in it."""
        if not isinstance(neuron_set, NeuronSet):
            named = isinstance(neuron_set, Iterable) and not isinstance(neuron_set, str)
            names = f"; it holds {', '.join(map(str, neuron_set))}" if named else ""
            raise SetError(f"Neurons are needed, a NeuronSet, not {type(neuron_set).__name__}{names}")
        return cls(neuron_set, None, name or f"zero-{neuron_set.fingerprint()[:8]}")

    @classmethod
    def from_values(
        cls, neuron_set: NeuronSet, values: Mapping[str, Tensor], name: str | None = None
    ) -> WeightEdit:
        """Gives the neurons new values. Keys and shapes (see the class) are checked against a model later."""
        kept = {key: values[key].detach().clone().contiguous() for key in sorted(values)}
        return cls(neuron_set, kept, name or f"values-{neuron_set.fingerprint()[:8]}")

    @classmethod
    def capture(cls, neuron_set: NeuronSet, model: nn.Module, name: str | None = None) -> WeightEdit:
        """The values the neurons have in `model` now. Raises SetError when the set does not fit the model, ModelError
        for a model that is wrapped, sharded or quantised."""
        require_whole(model)
        anatomy = anatomy_of(model)
        require_fit(neuron_set, anatomy)
        values = {}
        for key, target in targets(neuron_set, anatomy).items():
            value = read_values(parameter_of(model, target), target)
            values[key] = value.movedim(target.axis, 0).contiguous().cpu()
        return cls.from_values(neuron_set, values, name)

    @classmethod
    def scaled(
        cls, neuron_set: NeuronSet, model: nn.Module, factor: float, name: str | None = None
    ) -> WeightEdit:
        """Multiplies the activation of every neuron by `factor`, in the weights of `model`: the rows of q, k and v neurons with
        their biases, the columns of o and of the down projection. Equals `Intervention.scaled` on ffn neurons but for rounding.
        Raises as `capture`, and SetError for a factor that is not finite."""
        if not math.isfinite(factor):
            raise SetError(f"Neurons can be multiplied by a finite number only, not by {factor}")
        captured, anatomy = cls.capture(neuron_set, model), anatomy_of(model)
        values = dict(captured.values or {})
        for key, target in targets(neuron_set, anatomy).items():
            if target.axis == 1 or not key.endswith(":ffn"):  # gate and up rows decide the activation itself
                values[key] = values[key] * factor
        return cls(neuron_set, values, name or f"times-{factor:g}-{neuron_set.fingerprint()[:8]}")

    def fingerprint(self) -> str:
        """128-bit xxhash (hex) of the set, the kind and the values; the name does not count."""
        import xxhash

        digest = xxhash.xxh3_128(f"{self.neuron_set.fingerprint()}:{self.kind}".encode())
        for key, value in sorted((self.values or {}).items()):
            digest.update(f"|{key}:{value.dtype}:{list(value.shape)}:".encode())
            digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def require_fit(self, model: nn.Module | Anatomy) -> None:
        """Raises SetError, having touched nothing, when the edit is of a model of another shape."""
        anatomy = anatomy_of(model)
        require_fit(self.neuron_set, anatomy)
        if self.values is None:
            return
        wanted = targets(self.neuron_set, anatomy)
        if wanted.keys() != self.values.keys():
            missing = sorted(wanted.keys() - self.values.keys())
            extra = sorted(self.values.keys() - wanted.keys())
            raise SetError(
                f"The values of the edit {self.name!r} do not cover its neurons in {anatomy.model_type}: "
                f"missing {missing[:3] or 'none'}, not expected {extra[:3] or 'none'}"
            )
        for key, target in wanted.items():
            if self.values[key].ndim == 0 or self.values[key].shape[0] != len(target.index):
                raise SetError(
                    f"{key}: values of shape {list(self.values[key].shape)}, but {len(target.index)} rows or columns change"
                )

    @contextmanager
    def applied(self, model: nn.Module, layer: int | None = None) -> Iterator[None]:
        """Inside, `model` has the edit; after it, also after an exception, every parameter is what it was, bit for bit.

        With `layer`, only the part in that layer, whose parameters alone need to be whole.
        Edits nest. Values of another dtype are rounded to the parameter's. Raises SetError when the edit does not fit the
        model, or the model's parameters are sharded; nothing has been touched. Also when edits are left in another order
        than the reverse of entering; the model is restored first. Raises ModelError for a model that is wrapped or quantised.
        """
        if layer is None:
            require_whole(model)
        anatomy = anatomy_of(model)
        self.require_fit(anatomy)
        changes = []
        for key, target in targets(self.neuron_set, anatomy, layer).items():
            parameter = parameter_of(model, target)
            changes.append((parameter, target, self._value(key, parameter, target)))
        stack = _APPLIED.setdefault(model, [])
        undo = ExitStack()
        stack.append(undo)
        try:
            for parameter, target, value in changes:
                _write(parameter, target, value, undo)
            yield
        finally:
            _leave(stack, undo, self.name)

    def _value(self, key: str, parameter: nn.Parameter, target: Target) -> Tensor | None:
        if self.values is None:
            return None
        value = self.values[key].movedim(0, target.axis)
        wanted = list(parameter.shape)
        wanted[target.axis] = len(target.index)
        if list(value.shape) != wanted:
            raise SetError(
                f"{key}: values of shape {list(value.shape)} cannot fill {wanted} of the model's parameter"
            )
        return value.to(parameter.device, parameter.dtype)

    def save(self, path: str | Path) -> Path:
        """Writes one safetensors file, whole or not at all; its metadata holds the set as JSON. Raises SetError when the
        place cannot be written."""
        return _FILE.save(path, self.neuron_set, self.values or {}, kind=self.kind, name=self.name)

    @classmethod
    def load(cls, path: str | Path, model: nn.Module | Anatomy | None = None) -> WeightEdit:
        """Reads what `save` wrote; nothing is unpickled. With `model`, also requires that the edit fits it. Raises SetError
        for a missing, truncated or foreign file, a newer format, or an edit of another model."""
        neuron_set, values, about = _FILE.load(path)
        edit = cls(neuron_set, None if about["kind"] == "zero" else values, about["name"])
        if model is not None:
            edit.require_fit(model)
        return edit


_APPLIED: WeakKeyDictionary[nn.Module, list[ExitStack]] = WeakKeyDictionary()
"""What undoes the edits now applied to each model, outermost first."""


@torch.no_grad()
def _write(parameter: nn.Parameter, target: Target, value: Tensor | None, undo: ExitStack) -> None:
    index = target.index.to(parameter.device)
    undo.callback(parameter.index_copy_, target.axis, index, parameter.index_select(target.axis, index))
    if value is None:
        parameter.index_fill_(target.axis, index, 0)
    else:
        parameter.index_copy_(target.axis, index, value)


@torch.no_grad()
def _leave(stack: list[ExitStack], left: ExitStack, name: str) -> None:
    if left not in stack:
        return  # an edit outside this one was left first and has restored both
    in_order = stack[-1] is left
    while left in stack:
        stack.pop().close()
    if not in_order:
        raise SetError(
            f"The edit {name!r} was left before one applied after it; both were undone. Leave the last one first"
        )
