"""Selection: from impacts and a rule to the related, shared and exclusive neurons of each language (paper A, Eq. 2 and 3)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.selection.grid import ImpactGrid, Mask
from polyneuron.neuron_core.selection.rules import Rule, ScaledSigma
from polyneuron.neuron_core.sets import variant_name
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.neuron_sets import NeuronSets


class MeasuredImpacts(Protocol):
    """What `measure_impacts` gives, and the impacts of a stored study."""

    @property
    def summaries(self) -> pa.Table:
        """One row per language and group (`SUMMARY_SCHEMA`)."""

    def to_arrow(self) -> pa.Table:
        """One row per language and neuron (`IMPACTS_SCHEMA`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The sets that one rule selects. `selection["exclusive-sw"]` is one of them by its name in a study."""

    rule: Rule
    """What selected them."""
    languages: tuple[str, ...]
    """The languages that were compared, in order."""
    related: NeuronSets
    """By language, the neurons that pass on every sentence (Eq. 2)."""
    shared: NeuronSet
    """The neurons related to all languages (Eq. 3)."""
    exclusive: NeuronSets
    """By language, the related neurons that are not shared (Eq. 3)."""
    strict_exclusive: NeuronSets
    """By language, the exclusive neurons that are related to no other language."""
    thresholds: Mapping[str, float]
    """By group, the smallest over languages, in the unit of the impacts (a rank fraction for `TopRatio`)."""
    setting: float
    """The sigma, fraction or ratio that decided."""
    n_measured: int
    """Neurons of the model that were compared."""

    @property
    def named(self) -> NeuronSets:
        """Every set by its name: shared, then exclusive-sw, strict_exclusive-sw and related-sw of each language."""
        sets = {str(variant_name.SHARED): self.shared}
        for name_of, of_kind in (
            (variant_name.exclusive, self.exclusive),
            (variant_name.strict_exclusive, self.strict_exclusive),
            (variant_name.related, self.related),
        ):
            sets |= {str(name_of(language)): own for language, own in of_kind.items()}
        return NeuronSets.of(sets)

    def __getitem__(self, name: str) -> NeuronSet:
        return self.named[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.named)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{language} {n}" for language, n in self.n_exclusive().items())
        return f"Selection({self.rule.name}: {len(self.shared)} shared neurons of {self.n_measured}; exclusive {sizes})"

    def _repr_html_(self) -> str:
        return self.named._repr_html_()

    def describe(self) -> dict[str, Any]:
        """The rule as JSON-ready fields, with the sigma that was chosen where the rule left it open."""
        return {**self.rule.describe(), self.rule.setting_name: self.setting}

    def n_exclusive(self) -> dict[str, int]:
        """Size of each language's exclusive set."""
        return {language: len(exclusive) for language, exclusive in self.exclusive.items()}


def select(
    impacts: MeasuredImpacts | pa.Table,
    summaries: pa.Table | None = None,
    rule: Rule | None = None,
    languages: Sequence[str] | None = None,
    model: str = "",
) -> Selection:
    """Applies `rule` (default `ScaledSigma()`) to measured impacts.

    `impacts`: what `measure_impacts` gives, or `impacts` of a stored study; or with `summaries` two Arrow tables, the store's
    impacts and detections.
    `languages`: those that count (None: all). `model`: the sets' model where the table has no column `model`. Sets may be
    empty. Raises NotCertified when a threshold lies below the floor of pruned detection (it names group, language,
    threshold and floor), SetError when a language is missing or incomplete, or the rule cannot be answered from what is
    stored.
    """
    if not isinstance(impacts, pa.Table):
        impacts, summaries = impacts.to_arrow(), impacts.summaries
    if summaries is None:
        raise SetError(
            "Rows of impacts alone do not say their scale: pass the table that measure_impacts gave"
        )
    return select_on(ImpactGrid(impacts, summaries, languages, model), rule or ScaledSigma())


def select_on(grid: ImpactGrid, rule: Rule) -> Selection:
    """As `select`, of impacts that are laid out already. Raises NotCertified and SetError as it does."""
    passing = rule.passing(grid)
    shared, exclusive, strict = split(passing.passes)
    return Selection(
        rule=rule,
        languages=grid.languages,
        related=_by_language(grid, passing.passes),
        shared=grid.to_set(shared),
        exclusive=_by_language(grid, exclusive),
        strict_exclusive=_by_language(grid, strict),
        thresholds={
            group: min(passing.thresholds[language, group] for language in grid.languages)
            for group in grid.widths
        },
        setting=passing.setting,
        n_measured=grid.n_neurons,
    )


def split(related: Mask) -> tuple[Mask, Mask, Mask]:
    """Eq. 3 on masks: related bool [L, N] to shared [N], exclusive [L, N] and strict_exclusive [L, N]."""
    shared: Mask = np.logical_and.reduce(related, axis=0)
    exclusive = related & ~shared
    return shared, exclusive, exclusive & (related.sum(axis=0) == 1)


def _by_language(grid: ImpactGrid, masks: Mask) -> NeuronSets:
    return NeuronSets.of(
        {language: grid.to_set(mask) for language, mask in zip(grid.languages, masks, strict=True)}
    )
