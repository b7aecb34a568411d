"""The interface of detectors: from activation statistics to a neuron set per language, and what decided.

Shapes: L languages, D layers, I ffn neurons a layer.
"""

from __future__ import annotations

import functools
import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from polyneuron.neuron_core.activations.table import ActivationTable
from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.neuron_core.detectors.names import DetectorName
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.neuron_sets import NeuronSets

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Detected:
    """The neurons that a detector found, and what decided."""

    detector: Detector
    sets: Mapping[str, NeuronSet]
    """The ffn neurons of each language, which may be empty and may overlap."""
    scores: Mapping[str, Doubles]
    """By language, float64 [D, I]: the numbers that ranked the neurons; their meaning is the detector's."""
    thresholds: Mapping[str, float]
    """By name, what scores or probabilities were held against."""

    def __repr__(self) -> str:
        return f"Detected({self.detector!r}: {NeuronSets.of(self.sets)!r})"

    def _repr_html_(self) -> str:
        return NeuronSets.of(self.sets)._repr_html_()

    @property
    def everything(self) -> NeuronSet:
        """The neurons of any language, as one set."""
        return functools.reduce(operator.or_, self.sets.values())


@dataclass(frozen=True)
class Detector(ABC):
    """A method that finds language-specific neurons in activation statistics; its fields are its settings."""

    name: ClassVar[DetectorName]

    def describe(self) -> dict[str, Any]:
        """The name and the settings as JSON-ready fields."""
        return {"name": self.name, **asdict(self)}

    @abstractmethod
    def detect(self, table: ActivationTable, languages: Sequence[str] | None = None) -> Detected:
        """Finds the neurons of `languages` (None: all that were measured). Raises SetError when a language was not
        measured."""


def first_ranked(keys: Doubles, wanted: int) -> Mask:
    """Where the `wanted` smallest of `keys` [D, I] lie, as a mask; equal keys go by layer, then by neuron."""
    mask = np.zeros(keys.size, bool)
    mask[np.argsort(keys, axis=None, kind="stable")[:wanted]] = True
    return mask.reshape(keys.shape)


def to_set(table: ActivationTable, mask_DI: Mask) -> NeuronSet:
    """The ffn neurons at the True positions of a mask [D, I], as a set of the table's model."""
    members = {
        (layer, "ffn"): np.flatnonzero(inside).astype(np.int64) for layer, inside in enumerate(mask_DI)
    }
    return NeuronSet(table.model, {"ffn": table.width}, table.n_layers, members)


def require_share(name: str, value: float) -> None:
    """Raises ConfigError unless 0 < value <= 1."""
    if not 0 < value <= 1:
        raise ConfigError(f"{name} must be above 0 and at most 1, not {value}")
