"""Intervention: what the feed-forward activations of a neuron set are set to, scaled by or shifted by (paper B, section 3).

What is written to is the output of the activation function, act(gate), before it is multiplied with up: the place where the
paper writes its means and percentiles. `n` below is the number of ffn neurons of one layer.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import xxhash
from torch import Tensor, nn

from polyneuron.neuron_core.common.errors import ConfigError, SetError
from polyneuron.neuron_core.edits.modes import OPERATIONS, SITES_OF, Constant, Mode, Operation, Sites
from polyneuron.neuron_core.edits.targets import require_fit
from polyneuron.neuron_core.model.anatomy import Anatomy, anatomy_of
from polyneuron.neuron_core.model.whole import require_whole
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.set_file import SetFile

if TYPE_CHECKING:
    from polyneuron.neuron_core.activations.table import ActivationTable

_FILE = SetFile("intervention", "Intervention.save", "polyneuron.intervention", ("name", "operation", "mode"))


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Intervention:
    """Constants for the activations a of ffn neurons, and what is done with them."""

    neuron_set: NeuronSet
    """The neurons, all of group ffn."""
    constants: Mapping[int, Tensor]
    """By layer, float32 [n], in the order of `neuron_set.indices(layer, "ffn")`."""
    name: str
    """What reports call the variant."""
    operation: Operation = "set"
    """With a constant c, "set" makes a the constant, "scale" c a, "shift" a + c."""
    mode: Mode = "matched"
    """Where constants that are statistics were measured (`SITES_OF`)."""

    def __post_init__(self) -> None:
        """Raises SetError for neurons of other groups, constants that do not match the set, and unknown words."""
        if self.operation not in OPERATIONS or self.mode not in SITES_OF:
            raise SetError(
                f"The intervention {self.name!r} is {self.operation!r} in mode {self.mode!r}; operations are "
                f"{', '.join(OPERATIONS)}, modes {', '.join(SITES_OF)}"
            )
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

    def __repr__(self) -> str:
        return f"Intervention({self.name!r}, {self.operation} {self.neuron_set!r})"

    @classmethod
    def scaled(cls, neuron_set: NeuronSet, factor: float, name: str | None = None) -> Intervention:
        """The activations of all neurons times `factor`. Raises SetError for neurons of other groups."""
        constants = {
            layer: torch.full((len(neuron_set.indices(layer, "ffn")),), factor)
            for layer, _ in neuron_set.places()
        }
        name = name or f"times-{factor:g}-{neuron_set.fingerprint()[:8]}"
        return cls(neuron_set=neuron_set, constants=constants, name=name, operation="scale")

    @classmethod
    def from_statistics(
        cls,
        neuron_set: NeuronSet,
        table: ActivationTable,
        language: str,
        statistic: Constant = "mean",
        mode: Mode = "matched",
        *,
        activation: str = "silu",
        name: str | None = None,
    ) -> Intervention:
        """Sets the activations to a statistic of each neuron in `language`: "mean", "p5" to "p95", or "zero".

        `table` must be of the site that `mode` measures at: `matched`, or for as_published `pre_activation`. The latter
        reproduces paper B; it ends the name in "-as-published" and warns how many constants lie below the least that
        `activation` (`Anatomy.activation`) gives. Zero is no statistic, so its mode is always matched. Raises SetError for
        a table of another site or model shape, or a language or statistic that was not measured, ConfigError for an unknown
        `activation`.
        """
        if mode not in SITES_OF or table.site != SITES_OF[mode].statistic:
            wanted = SITES_OF[mode].statistic if mode in SITES_OF else f"one of {', '.join(SITES_OF)}"
            raise SetError(f"Mode {mode!r} needs statistics of site {wanted}; these are of {table.site!r}")
        shape = neuron_set.n_layers, neuron_set.widths.get("ffn")
        if shape != (table.n_layers, table.width):
            raise SetError(
                f"The neuron set is of a model of {shape[0]} layers with {shape[1]} ffn neurons; the statistics are of "
                f"{table.n_layers} layers with {table.width}"
            )
        zero = statistic == "zero"
        values = np.zeros((table.n_layers, table.width)) if zero else table.statistic(language, statistic)
        constants = {
            layer: torch.from_numpy(values[layer][neuron_set.indices(layer, "ffn")]).float()
            for layer, _ in neuron_set.places()
        }
        name = name or f"{statistic}-{language}-{neuron_set.fingerprint()[:8]}"
        if mode == "matched" or zero:
            return cls(neuron_set=neuron_set, constants=constants, name=name)
        name = f"{name}-as-published"
        published = cls(neuron_set=neuron_set, constants=constants, name=name, mode=mode)
        _warn_of_impossible(published, activation)
        return published

    @property
    def sites(self) -> Sites:
        """Where constants that are statistics were measured, and where all are written."""
        return SITES_OF[self.mode]

    def fingerprint(self) -> str:
        """128-bit xxhash (hex) of the set, the constants, the operation and the mode; the name does not count."""
        described = f"intervention:{self.operation}:{self.mode}:{self.neuron_set.fingerprint()}"
        digest = xxhash.xxh3_128(described.encode())
        for layer in sorted(self.constants):
            digest.update(self.constants[layer].to(torch.float32).cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def require_fit(self, model: nn.Module | Anatomy) -> None:
        """Raises SetError when the set is of a model of another shape."""
        require_fit(self.neuron_set, anatomy_of(model))

    @contextmanager
    def applied(self, model: nn.Module, layer: int | None = None) -> Iterator[None]:
        """Inside, the activations of the neurons (with `layer`, of those in that layer) are changed, for every token; nothing
        is left of it after. Raises SetError when the set is of a model of another shape, ModelError when the model is wrapped,
        sharded or quantised; nothing has been touched."""
        if layer is None:
            require_whole(model)
        anatomy = anatomy_of(model)
        self.require_fit(anatomy)
        with ExitStack() as hooks:
            for index in self.constants if layer is None else self.constants.keys() & {layer}:
                path = f"{anatomy.family.mlp}.{anatomy.family.activation}"
                module = anatomy.layers(model)[index].get_submodule(path)
                hooks.enter_context(module.register_forward_hook(self._hook(index)))
            yield

    def _hook(self, layer: int) -> Any:
        index = torch.from_numpy(self.neuron_set.indices(layer, "ffn").astype("int64"))

        def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
            changed, at = output.clone(), index.to(output.device)
            constants, own = self.constants[layer].to(output.device, output.dtype), output[..., at]
            with_constants = {"set": constants.expand_as, "scale": constants.mul, "shift": constants.add}
            changed[..., at] = with_constants[self.operation](own)
            return changed

        return hook

    def save(self, path: str | Path) -> Path:
        """Writes one safetensors file, whole or not at all. Raises SetError when it cannot be written."""
        tensors = {str(layer): values.float().contiguous() for layer, values in self.constants.items()}
        return _FILE.save(
            path, self.neuron_set, tensors, name=self.name, operation=self.operation, mode=self.mode
        )

    @classmethod
    def load(cls, path: str | Path) -> Intervention:
        """Reads what `save` wrote; nothing is unpickled. Raises SetError for a missing or foreign file."""
        neuron_set, tensors, about = _FILE.load(path)
        try:
            constants = {int(layer): values for layer, values in tensors.items()}
        except ValueError as error:
            raise SetError(
                f"{path} holds a tensor that is of no layer ({error}); save the intervention again"
            ) from error
        return cls(neuron_set=neuron_set, constants=constants, **cast(dict[str, Any], about))


def is_intervention_file(path: str | Path) -> bool:
    """Whether a safetensors file holds an intervention rather than a weight edit."""
    return _FILE.holds(path)


@functools.cache
def lowest_output(activation: str) -> float:
    """The minimum of an activation function, by its name in transformers (`config.hidden_act`), to 1e-8: SiLU never gives less
    than -0.2785, GELU than -0.1700. Searched from -20 to 0. Raises ConfigError when transformers has no such function."""
    from transformers.activations import ACT2CLS, ACT2FN

    if activation not in ACT2CLS:
        raise ConfigError(f"There is no activation function {activation!r}; there are {', '.join(ACT2CLS)}")
    return float(ACT2FN[activation](torch.linspace(-20, 0, 400_001, dtype=torch.float64)).min())


def _warn_of_impossible(change: Intervention, activation: str) -> None:
    lowest = lowest_output(activation)
    n_below = sum(int((values < lowest).sum()) for values in change.constants.values())
    warnings.warn(
        f"The intervention {change.name!r} writes statistics of the input of {activation} to its output, as published: "
        f"{n_below} of {len(change.neuron_set)} constants lie below {lowest:.4f}, the least that {activation} gives, so "
        "the model can never produce them. Use mode='matched' for values that it can",
        UserWarning,
        stacklevel=3,
    )
