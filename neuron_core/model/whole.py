"""Whether a model that a user holds is one that can be measured and edited: whole, in this process, in plain floats."""

from __future__ import annotations

from typing import Any

from torch import nn

from polyneuron.neuron_core.common.errors import ModelError

_WRAPPERS = {
    "OptimizedModule": "a model of torch.compile; give the one inside, model._orig_mod",
    "DataParallel": "a model of DataParallel; give the one inside, model.module",
    "DistributedDataParallel": "a model of DistributedDataParallel; give the one inside, model.module",
    "FullyShardedDataParallel": "a model that FSDP has sharded; give a whole one",
    "DeepSpeedEngine": "an engine of DeepSpeed; give a whole model",
}


def require_whole(model: Any) -> None:
    """Raises ModelError, which names the reason, unless `model` is a model in this process, on one device, in plain floats:
    not wrapped, sharded, offloaded, quantised or adapted by anybody else."""
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"A {type(model).__name__} was given where a model is due, such as load_model gives first"
        )
    for name, module in model.named_modules():
        kind = type(module)
        if wrapper := next((c.__name__ for c in kind.__mro__ if c.__name__ in _WRAPPERS), None):
            raise ModelError(f"{name or 'What was given'} is {_WRAPPERS[wrapper]}")
        if kind.__module__.startswith("peft."):
            raise ModelError(
                f"{name or 'What was given'} carries an adapter of peft; merge it first (model.merge_and_unload())"
            )
    devices: dict[str, str] = {}
    for name, parameter in model.named_parameters():
        devices.setdefault(str(parameter.device), name)
        if hasattr(parameter, "ds_id"):
            raise ModelError(f"{name} is sharded by DeepSpeed; give a whole model, as load_model loads it")
        if any(c.__name__ == "DTensor" for c in type(parameter.data).__mro__):
            raise ModelError(
                f"{name} is a DTensor: FSDP or tensor parallelism has sharded it. Give a whole model"
            )
        if parameter.is_meta:
            raise ModelError(
                f"{name} has no values (meta device): it was never loaded, or is offloaded. Load the whole model"
            )
        if not parameter.is_floating_point():
            kind_of = str(parameter.dtype).removeprefix("torch.")
            raise ModelError(f"{name} is quantised ({kind_of}); load the model in float32 or bfloat16")
    if len(devices) > 1:
        raise ModelError(
            f"The model lies on several devices ({', '.join(f'{n} on {d}' for d, n in devices.items())}); load it onto one, "
            "without device_map"
        )
