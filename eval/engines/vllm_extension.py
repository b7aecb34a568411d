"""What runs inside every vLLM worker: weight edits and interventions on its shard, in place and undone.

vLLM mixes `WeightEditExtension` into its worker class (`worker_extension_cls`); the engine calls the methods by name on all
ranks. Arguments are paths: tensors travel in the safetensors file. What cannot be done is returned, not raised: vLLM takes an
exception of one rank for the answer to the next call. vLLM packs q, k and v into one parameter, gate and up into another, and
splits rows (q, k, v, gate, up) or columns (o, down) over tensor-parallel ranks; every rank writes its own share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import xxhash
from torch import Tensor, nn
from vllm.platforms import current_platform

from polyneuron.neuron_core.common.errors import SetError, UnsupportedArchitecture
from polyneuron.neuron_core.edits.intervention import Intervention
from polyneuron.neuron_core.edits.modes import Operation
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import Anatomy, anatomy_of

if TYPE_CHECKING:
    from polyneuron.neuron_core.sets.neuron_set import NeuronSet

if current_platform.is_cpu():
    # vLLM packs CPU weights into oneDNN handles, after which there is no weight left to edit.
    import vllm._custom_ops
    import vllm.model_executor.layers.utils

    vllm._custom_ops._supports_onednn = False
    vllm.model_executor.layers.utils.check_cpu_sgl_kernel = lambda *args: False  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Slice:
    """This rank's share of one weight slice."""

    parameter: nn.Parameter
    """vLLM's tensor, which may hold other slices too."""
    axis: int = 0
    """0: neurons are rows, 1: columns."""
    start: int = 0
    """The first row or column of the slice in `parameter`."""
    first: int
    """The neuron that stands there."""
    size: int
    """Neurons that this rank holds."""

    def holds(self, index: Tensor) -> Tensor:
        """bool, as `index`: whether this rank holds the neuron."""
        return (index >= self.first) & (index < self.first + self.size)


@dataclass(frozen=True, slots=True)
class _Write:
    """Rows or columns `local` of a parameter take `values` (laid out neurons first; None: zeros)."""

    parameter: nn.Parameter
    axis: int
    local: Tensor
    values: Tensor | None

    def current(self) -> Tensor:
        """What stands there now, copied."""
        return self.parameter.data.index_select(self.axis, self.local)


class WeightEditExtension:
    """Methods of a vLLM worker. One edit and one intervention at a time; `polyneuron_restore` undoes whatever is there."""

    model_runner: Any
    model_config: Any
    _polyneuron_undo: list[tuple[_Write, Tensor]]
    _polyneuron_hooks: list[Any]
    _polyneuron_checksum: str

    def polyneuron_apply(self, path: str) -> dict[str, Any]:
        """Applies the weight edit in the file. Nothing is written when any part of it does not resolve here. Returns `layers`,
        those this rank holds, or `error`."""
        return _reported(self._apply, path)

    def polyneuron_intervene(self, path: str) -> dict[str, Any]:
        """Changes the activations that the file names. Needs eager execution. Returns as `polyneuron_apply`."""
        return _reported(self._intervene, path)

    def _prepared(self, change: WeightEdit | Intervention) -> tuple[Anatomy, dict[int, Any]]:
        """The model's anatomy and this rank's layers; raises SetError where the change cannot be made."""
        there = "_polyneuron_undo" if isinstance(change, WeightEdit) else "_polyneuron_hooks"
        if getattr(self, there, None):
            raise SetError("An edit or intervention is already applied; restore it first")
        anatomy = anatomy_of(self.model_config.hf_config)
        change.require_fit(anatomy)
        return anatomy, _layers(self.model_runner.get_model(), anatomy)

    def _apply(self, path: str) -> list[int]:
        edit = WeightEdit.load(path)
        anatomy, layers = self._prepared(edit)
        writes = [write for layer in layers for write in _writes(edit, anatomy, layer, layers[layer])]
        self._polyneuron_checksum = _checksum(writes)
        self._polyneuron_undo = []
        for write in writes:
            before = write.current()
            self._polyneuron_undo.append((write, before))
            if write.values is None:
                write.parameter.data.index_fill_(write.axis, write.local, 0)
            else:
                value = write.values.movedim(0, write.axis).to(before.device, before.dtype)
                write.parameter.data.index_copy_(write.axis, write.local, value)
        return sorted(layers)

    def _intervene(self, path: str) -> list[int]:
        intervention = Intervention.load(path)
        anatomy, layers = self._prepared(intervention)
        self._polyneuron_hooks = []
        for layer, module in layers.items():
            if layer not in intervention.constants:
                continue
            slice_ = _slices(module, anatomy, "ffn")[0]
            index = torch.from_numpy(intervention.neuron_set.indices(layer, "ffn").astype("int64"))
            held = slice_.holds(index)
            constants = intervention.constants[layer][held]
            change = _ActivationChange(intervention.operation, index[held] - slice_.first, constants)
            self._polyneuron_hooks += change.hooked(module.get_submodule(anatomy.family.mlp))
        return sorted(layers)

    def polyneuron_restore(self) -> bool:
        """Undoes intervention and edit. True when the touched weights have the checksum they had before it."""
        for handle in getattr(self, "_polyneuron_hooks", None) or []:
            handle.remove()
        self._polyneuron_hooks = []
        undo, self._polyneuron_undo = getattr(self, "_polyneuron_undo", None) or [], []
        for write, before in reversed(undo):
            write.parameter.data.index_copy_(write.axis, write.local, before)
        return not undo or _checksum([write for write, _ in undo]) == self._polyneuron_checksum


def _reported(method: Callable[[str], list[int]], path: str) -> dict[str, Any]:
    try:
        return {"layers": method(path)}
    except (SetError, UnsupportedArchitecture) as error:
        return {"error": error.message}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _layers(model: nn.Module, anatomy: Anatomy) -> dict[int, Any]:
    """The decoder layers this rank holds, by number (pipeline parallelism leaves the others out)."""
    for _, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == anatomy.n_layers:
            held = {i: layer for i, layer in enumerate(module) if hasattr(layer, anatomy.family.attention)}
            if held:
                return held
    raise SetError(f"No {anatomy.n_layers} decoder layers in vLLM's {type(model).__name__}")


def _slices(layer: Any, anatomy: Anatomy, group: str) -> list[_Slice]:
    """This rank's share of each of `anatomy.slices(group)`, in their order."""
    attention = layer.get_submodule(anatomy.family.attention)
    mlp = layer.get_submodule(anatomy.family.mlp)
    if group == "o":
        return [_columns(attention.o_proj)]
    if group == "ffn":
        fused = mlp.gate_up_proj
        size = fused.output_sizes[0] // fused.tp_size
        first = fused.tp_rank * size
        rows = [
            _Slice(parameter=parameter, start=half * size, first=first, size=size)
            for half in (0, 1)
            for parameter in _parameters(fused, anatomy, "ffn")
        ]
        return [*rows, _columns(mlp.down_proj)]
    qkv = attention.qkv_proj
    start, size = qkv._get_shard_offset_mapping(group), qkv._get_shard_size_mapping(group)
    # A key-value head may be copied to several ranks.
    rank = qkv.tp_rank if group == "q" else qkv.tp_rank // qkv.num_kv_head_replicas
    return [
        _Slice(parameter=parameter, start=start, first=rank * size, size=size)
        for parameter in _parameters(qkv, anatomy, group)
    ]


def _parameters(linear: Any, anatomy: Anatomy, group: str) -> list[nn.Parameter]:
    """A packed linear's weight, and its bias where rows of `group` have one."""
    biased = any(part.parameter.endswith(".bias") for part in anatomy.slices(group))
    return [linear.weight, linear.bias] if biased else [linear.weight]


def _columns(projection: Any) -> _Slice:
    size = projection.input_size_per_partition
    return _Slice(parameter=projection.weight, axis=1, first=projection.tp_rank * size, size=size)


def _writes(edit: WeightEdit, anatomy: Anatomy, layer: int, module: Any) -> Iterator[_Write]:
    which: NeuronSet = edit.neuron_set
    for number, group in which.places():
        if number != layer:
            continue
        index = torch.from_numpy(which.indices(layer, group).astype("int64"))
        used: dict[str, int] = {}
        for named, slice_ in zip(anatomy.slices(group), _slices(module, anatomy, group), strict=True):
            name = anatomy.parameter_name(layer, named)
            _require_whole(name, slice_, anatomy)
            held = slice_.holds(index)
            local = (index[held] - slice_.first + slice_.start).to(slice_.parameter.device)
            values = None
            if edit.values is not None:
                # Two slices of one fused parameter stand one after the other in its values.
                offset = used.get(name, 0)
                used[name] = offset + len(index)
                values = edit.values[f"{name}:{group}"][offset : offset + len(index)][held]
                _require_shape(name, slice_, values, local)
            if len(local):
                yield _Write(slice_.parameter, slice_.axis, local, values)


def _require_whole(name: str, slice_: _Slice, anatomy: Anatomy) -> None:
    shape = slice_.parameter.shape
    if len(shape) <= slice_.axis or shape[slice_.axis] < slice_.start + slice_.size:
        raise SetError(
            f"vLLM holds {name} as a tensor of shape {list(shape)}: packed or quantised weights cannot be edited. "
            "Load the model unquantised"
        )


def _require_shape(name: str, slice_: _Slice, values: Tensor, local: Tensor) -> None:
    wanted = list(slice_.parameter.shape)
    wanted[slice_.axis] = len(local)
    given = list(values.movedim(0, slice_.axis).shape)
    if given != wanted:
        raise SetError(f"{name}: values of shape {given} cannot fill {wanted} of the engine's parameter")


def _checksum(writes: list[_Write]) -> str:
    """Hash of the rows and columns that are written to, as they are now."""
    digest = xxhash.xxh3_128()
    for write in writes:
        digest.update(write.current().flatten().view(torch.uint8).cpu().numpy().data)
    return digest.hexdigest()


@dataclass
class _ActivationChange:
    """Changes act(gate) of this rank's neurons `local` in one layer, where vLLM has only act(gate) * up. The hooks are on the
    layer's two projections: its activation module may be one that all layers share (Gemma 3)."""

    operation: Operation
    local: Tensor
    constants: Tensor
    gate_up: Tensor | None = None

    def hooked(self, mlp: Any) -> list[Any]:
        """The handles of the hooks, which are in force."""
        return [
            mlp.gate_up_proj.register_forward_hook(self._keep),
            mlp.down_proj.register_forward_pre_hook(self._change),
        ]

    def _keep(self, module: nn.Module, args: Any, output: Any) -> None:
        self.gate_up = output[0]

    def _change(self, module: nn.Module, args: Any) -> Any:
        assert self.gate_up is not None, "the gate and up projections did not run before the down projection"
        product, index = args[0].clone(), self.local.to(args[0].device)
        constants = self.constants.to(product.device, product.dtype)
        up = self.gate_up[..., product.shape[-1] + index]
        if self.operation == "set":
            product[..., index] = constants * up
        elif self.operation == "scale":
            product[..., index] = constants * args[0][..., index]
        else:
            product[..., index] = args[0][..., index] + constants * up
        self.gate_up = None
        return (product, *args[1:])
