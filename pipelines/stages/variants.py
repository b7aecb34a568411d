"""Variants of the model under study, and random controls of their sets."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from polyneuron.eval.store.schemas import NEURON_SETS
from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.sets.neuron_set import NeuronSet, matched_control
from polyneuron.neuron_core.sets.variant_name import BASE, VariantName
from polyneuron.pipelines.run.progress import say

if TYPE_CHECKING:
    from polyneuron.eval.engines.settings import Change


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """The model under study with at most one change."""

    name: VariantName
    """What the variant is called."""
    neurons: NeuronSet | None = None
    """The neurons that the change is about; None for the model as it is."""
    change: Change = None
    """What is different from the model as it is; None: nothing."""
    beside: tuple[VariantName, ...] = ()
    """Variants it is compared with, apart from the base model and its controls."""
    judged_on: frozenset[tuple[str, str]] | None = None
    """(benchmark, language) pairs that it is judged on; None: all."""

    @staticmethod
    def deactivating(name: VariantName, neurons: NeuronSet) -> Variant:
        """The variant whose `neurons` are switched off."""
        return Variant(name=name, neurons=neurons, change=WeightEdit.zero(neurons, str(name)))

    @property
    def n_neurons(self) -> int:
        """How many neurons the change is about."""
        return 0 if self.neurons is None else len(self.neurons)

    @property
    def fingerprint(self) -> str:
        """Hash of the change; "none" for the model as it is."""
        return "none" if self.change is None else self.change.fingerprint()


BASE_VARIANT = Variant(name=BASE)


def with_controls(
    name: VariantName, neurons: NeuronSet, outside: NeuronSet, n_controls: int
) -> Iterator[Variant]:
    """The variant whose `neurons` are switched off, and its random controls, drawn by the first whole numbers as seeds.

    An empty set has no controls; nor has one beside which too few neurons are left outside `outside`, which is said.
    """
    yield Variant.deactivating(name, neurons)
    for seed in range(n_controls if len(neurons) else 0):
        try:
            drawn = matched_control(neurons, outside, seed)
        except SetError as error:
            say(f"  no control for {name}: {error.message}")
            return
        yield Variant.deactivating(name.control(seed), drawn)


def variants_named(variants: Iterable[Variant], patterns: Sequence[str]) -> list[Variant]:
    """The base model, and those of `variants` whose names match a pattern; empty sets are the base model."""
    return [BASE_VARIANT] + [
        variant
        for variant in variants
        if variant.n_neurons and any(fnmatch.fnmatchcase(str(variant.name), pattern) for pattern in patterns)
    ]


def set_rows(selection: str, sets: Iterable[tuple[VariantName, NeuronSet | None]]) -> pa.Table:
    """Sets as rows of the table neuron_sets."""
    blocks = []
    for name, neurons in sets:
        if neurons is None:
            continue
        rows = neurons.to_arrow().select(["layer", "group", "neuron"])
        constants = {
            "selection": selection,
            "kind": name.kind,
            "language": name.language,
            "seed": name.seed,
            "variant": str(name),
        }
        for column, value in constants.items():
            values = pa.array([value] * rows.num_rows, NEURON_SETS.schema.field(column).type)
            rows = rows.append_column(column, values)
        blocks.append(rows)
    return pa.concat_tables(blocks)
