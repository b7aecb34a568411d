"""Variants of the model under study, and controls of their sets."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from polyneuron.eval.store.schemas import NEURON_SETS
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.sets.controls import (
    Control,
    Pooled,
    distinct,
    impact_control,
    language_control,
    random_control,
)
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.variant_name import BASE, CONTROL_NAMES, ControlKind, VariantName
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
    measured_in: str | None = None
    """The one language on whose held-out sentences its perplexity is measured; None: all."""
    control: Control | None = None
    """How its neurons were drawn, where it is a control."""
    judged_on: frozenset[tuple[str, str]] | None = None
    """(benchmark, language) pairs that it is judged on; None: all."""

    @staticmethod
    def deactivating(
        name: VariantName,
        neurons: NeuronSet,
        control: Control | None = None,
        measured_in: str | None = None,
    ) -> Variant:
        """The variant whose `neurons` are switched off."""
        change = WeightEdit.zero(neurons, str(name))
        return Variant(name=name, neurons=neurons, change=change, control=control, measured_in=measured_in)

    @property
    def n_neurons(self) -> int:
        """How many neurons the change is about."""
        return 0 if self.neurons is None else len(self.neurons)

    @property
    def fingerprint(self) -> str:
        """Hash of the change; "none" for the model as it is."""
        return "none" if self.change is None else self.change.fingerprint()


BASE_VARIANT = Variant(name=BASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlSource:
    """From where the controls of a set are drawn."""

    n_draws: int
    """Draws of each kind."""
    outside: NeuronSet
    """What random neurons are drawn outside of."""
    pooled: Pooled | None = None
    """Impacts on the text of all languages; None: there are no impact-matched controls."""
    others: NeuronSet | None = None
    """The sets of other languages; None: there are no controls from them."""
    measured_in: str | None = None
    """The one language in which the controls are measured; None: all."""

    def kinds(self, neurons: NeuronSet) -> Iterator[tuple[ControlKind, Callable[[int], Control]]]:
        """The kinds of controls of a set, each with what draws it by a seed."""
        pooled, others = self.pooled, self.others
        yield "control", lambda seed: random_control(neurons, self.outside, seed, pooled)
        if pooled is not None:
            yield "impact_control", lambda seed: impact_control(neurons, pooled, seed)
            if others is not None:
                yield "language_control", lambda seed: language_control(neurons, others, seed, pooled)


def with_controls(name: VariantName, neurons: NeuronSet, source: ControlSource) -> Iterator[Variant]:
    """The variant whose `neurons` are switched off, and its controls of every kind, drawn by the first whole numbers as seeds.

    An empty set has no controls. Too few free neurons make a smaller control, and fewer different draws; both are said.
    """
    yield Variant.deactivating(name, neurons)
    n_draws = source.n_draws if len(neurons) else 0
    for kind, draw in source.kinds(neurons):
        drawn = list(distinct(map(draw, range(n_draws))))
        fewest = min((len(each.neurons) for _, each in drawn), default=0)
        if len(drawn) < n_draws or (drawn and fewest < len(neurons)):
            found = f"{len(drawn)} different draws of {n_draws}, with {fewest} of {len(neurons)} neurons"
            say(f"  too few {CONTROL_NAMES[kind]} are free beside {name}: {found}")
        for seed, control in drawn:
            of_draw = name.control(seed, kind)
            yield Variant.deactivating(of_draw, control.neurons, control, source.measured_in)


def control_rows(selection: str, variants: Iterable[Variant]) -> list[dict[str, Any]]:
    """The controls among variants as rows of the table controls."""
    return [
        variant.name.columns()
        | {
            "selection": selection,
            "n_neurons": variant.n_neurons,
            "n_asked": variant.control.n_asked,
            "impact_ratio": variant.control.impact_ratio,
        }
        for variant in variants
        if variant.control is not None
    ]


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
