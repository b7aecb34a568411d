"""The interface of detectors: from activation statistics to a neuron set per language, and what decided.

Shapes: L languages, D layers, I ffn neurons a layer.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from polyneuron.neuron_core.activations.table import ActivationTable
from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.neuron_core.detectors.names import DetectorName
from polyneuron.neuron_core.sets.neuron_set import NeuronSet

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Detected:
    """What a detector found.

    sets: the ffn neurons of each language, which may be empty and may overlap. scores: by language, float64
    [D, I], the number that ranked the neurons; its meaning is the detector's. thresholds: by name, what scores or
    probabilities were held against.
    """

    detector: Detector
    sets: Mapping[str, NeuronSet]
    scores: Mapping[str, Doubles]
    thresholds: Mapping[str, float]

    @property
    def everything(self) -> NeuronSet:
        """The neurons of any language."""
        return functools.reduce(operator.or_, self.sets.values())


class Detector(Protocol):
    """A method that finds language-specific neurons in activation statistics."""

    name: ClassVar[DetectorName]

    def describe(self) -> dict[str, Any]:
        """The detector as JSON-ready fields, `name` included."""
        ...

    def detect(self, table: ActivationTable, languages: Sequence[str] | None = None) -> Detected:
        """Finds the neurons of `languages` (None: all that were measured).

        Raises:
            SetError: a language was not measured.
        """
        ...


def first_ranked(keys: Doubles, wanted: int) -> Mask:
    """Bool, shaped as `keys` [D, I]: the `wanted` smallest keys; equal keys go by layer, then by neuron."""
    found = np.zeros(keys.size, bool)
    found[np.argsort(keys, axis=None, kind="stable")[:wanted]] = True
    return found.reshape(keys.shape)


def to_set(table: ActivationTable, mask_DI: Mask) -> NeuronSet:
    """The neurons at the True positions."""
    members = {
        (layer, "ffn"): np.flatnonzero(inside).astype(np.int64) for layer, inside in enumerate(mask_DI)
    }
    return NeuronSet(table.model, {"ffn": table.width}, table.n_layers, members)


def require_share(name: str, value: float) -> None:
    """Raises ConfigError unless 0 < value <= 1."""
    if not 0 < value <= 1:
        raise ConfigError(f"{name} must be above 0 and at most 1, not {value}")
