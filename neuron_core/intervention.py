"""Intervention: constants that the feed-forward activations of a neuron set are held at (paper B, section 3).

What is held is the output of the activation function, act(gate), before it is multiplied with up: the place
where the paper writes its means and percentiles. `n` below is the number of ffn neurons of one layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor, nn

from neuron_core.anatomy import Anatomy, anatomy_of
from neuron_core.edit_targets import require_fit
from neuron_core.errors import SetError
from neuron_core.neuron_set import NeuronSet
from neuron_core.set_file import SetFile

_FILE = SetFile("intervention", "Intervention.save", "polyneuron.intervention", ("name",), group="ffn")


@dataclass(frozen=True, eq=False)
class Intervention:
    """Constants for the activations of ffn neurons.

    constants: per layer a float32 tensor [n], in the order of `neuron_set.indices(layer, "ffn")`.
    """

    neuron_set: NeuronSet
    constants: Mapping[int, Tensor]
    name: str

    def __post_init__(self) -> None:
        """Raises SetError for neurons of other groups and for constants that do not match the set."""
        wanted = dict.fromkeys(layer for layer, _ in self.neuron_set.places())
        if others := sorted({group for _, group in self.neuron_set.places()} - {"ffn"}):
            raise SetError(
                f"The intervention {self.name!r} names {', '.join(others)} neurons; only ffn neurons have an "
                "activation function"
            )
        for layer in wanted:
            n = len(self.neuron_set.indices(layer, "ffn"))
            if layer not in self.constants or self.constants[layer].shape != (n,):
                raise SetError(f"The intervention {self.name!r} needs {n} constants for layer {layer}")
        if extra := sorted(set(self.constants) - set(wanted)):
            raise SetError(
                f"The intervention {self.name!r} has constants for layers {extra}, without neurons"
            )

    def fingerprint(self) -> str:
        """128-bit xxhash (hex) of the set and the constants; the name does not count."""
        digest = xxhash.xxh3_128(f"intervention:{self.neuron_set.fingerprint()}".encode())
        for layer in sorted(self.constants):
            digest.update(self.constants[layer].to(torch.float32).cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def require_fit(self, model: nn.Module | Anatomy) -> None:
        """Raises SetError when the set is of a model of another shape."""
        require_fit(self.neuron_set, model if isinstance(model, Anatomy) else anatomy_of(model))

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Inside, the activations of the neurons are the constants, for every token.

        Raises:
            SetError: the set is of a model of another shape; nothing has been touched.
        """
        anatomy = anatomy_of(model)
        self.require_fit(anatomy)
        layers = anatomy.layers(model)
        handles = []
        try:
            for layer, constants in self.constants.items():
                index = torch.from_numpy(self.neuron_set.indices(layer, "ffn").astype("int64"))
                path = f"{anatomy.family.mlp}.{anatomy.family.activation}"
                module = layers[layer].get_submodule(path)
                handles.append(module.register_forward_hook(_hold(index, constants)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def save(self, path: str | Path) -> Path:
        """Writes one safetensors file, whole or not at all. Raises SetError when it cannot be written."""
        tensors = {str(layer): values.float().contiguous() for layer, values in self.constants.items()}
        return _FILE.save(path, self.neuron_set, tensors, name=self.name)

    @classmethod
    def load(cls, path: str | Path) -> Intervention:
        """Reads what `save` wrote; nothing is unpickled. Raises SetError for a missing or foreign file."""
        which, tensors, about = _FILE.load(path)
        try:
            constants = {int(layer): values for layer, values in tensors.items()}
        except ValueError as error:
            raise SetError(
                f"{path} holds a tensor that is of no layer ({error}); save the intervention again"
            ) from error
        return cls(which, constants, about["name"])


def is_intervention_file(path: str | Path) -> bool:
    """Whether a safetensors file holds an intervention rather than a weight edit."""
    return _FILE.holds(path)


def _hold(index: Tensor, constants: Tensor) -> Any:
    def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        held = output.clone()
        held[..., index.to(output.device)] = constants.to(output.device, output.dtype)
        return held

    return hook
