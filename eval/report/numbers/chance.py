"""How often draws do as much as a set: p-values that need no law, only draws."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyneuron.eval.report.numbers.effects import ABOVE, ALPHA, Effects
from polyneuron.eval.report.numbers.variants import ShownVariant, Variants
from polyneuron.eval.verdicts.statistics import holm
from polyneuron.eval.verdicts.verdict import NO_EVIDENCE, NOT_JUDGED
from polyneuron.neuron_core.sets.variant_name import CONTROL_KINDS, ControlKind

MATCHED = 0.9
"""Least impact of draws, over that of their sets, that passes for equal."""
OWN_SETS = ("exclusive", "strict_exclusive")
"""The kinds of sets of which every language has its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BesideDraws:
    """A set beside its draws of one kind in every language, or each language's own set beside its own draws in that language."""

    kind: ControlKind
    """What was drawn."""
    times: Mapping[str, float]
    """By language that has draws, the multiple of its perplexity without the set."""
    draws: Mapping[str, Sequence[float]]
    """By language, the multiples without each draw."""
    p_values: Mapping[str, float]
    """By language, how often a draw does as much."""
    p_adjusted: Mapping[str, float]
    """The same, adjusted by Holm's method over the languages."""
    p_all: float | None
    """Of all languages together; None where the draws were not measured in the same ones."""
    n_neurons: int
    """Neurons of the smallest draw, summed over sets."""
    n_asked: int
    """Neurons of the sets; more than `n_neurons` where too few were free to match all."""
    impact_ratio: float | None
    """Pooled impact of the draws over that of the sets, geometric means; None where it is not known."""

    @property
    def lost(self) -> list[str]:
        """The languages in which some draw does as much."""
        return [code for code in self.times if self.times[code] <= max(self.draws[code])]

    @property
    def n_won(self) -> int:
        """In how many languages no draw does as much."""
        return len(self.times) - len(self.lost)

    @property
    def n_draws(self) -> int:
        """The fewest draws in a language."""
        return min(map(len, self.draws.values()))

    @property
    def smallest_p(self) -> float:
        """The smallest p-value that so many draws can give one language."""
        return 1 / (self.n_draws + 1)

    @property
    def judges_each(self) -> bool:
        """Whether so many draws can reach Holm's first level, at which a single language would be judged."""
        return self.smallest_p <= ALPHA / len(self.times)

    @property
    def by_chance(self) -> float:
        """In how many languages no draw would do as much, were each set one of its draws."""
        return sum(1 / (len(draws) + 1) for draws in self.draws.values())

    @property
    def is_matched(self) -> bool:
        """Whether the draws have as much impact as the sets; else a set that does more may do so by its impact."""
        return self.impact_ratio is not None and self.impact_ratio >= MATCHED

    @property
    def is_more(self) -> bool:
        """Whether the set does more than every draw in every language, and that is more than chance."""
        return not self.lost and self.p_all is not None and self.p_all <= ALPHA

    def verdict(self, language: str) -> str:
        """Above its draws, no evidence, or not judged for too few of them."""
        if not self.judges_each:
            return NOT_JUDGED
        return ABOVE if self.p_adjusted[language] <= ALPHA else NO_EVIDENCE


def beside_draws(
    variants: Variants, effects: Effects, languages: Sequence[str], set_kind: str, control: ControlKind
) -> BesideDraws | None:
    """The shared set in every language, or each language's own set of `set_kind` in its own, beside draws of the kind
    `control`; None where there are none."""
    is_one = set_kind == "shared"
    times: dict[str, float] = {}
    draws: dict[str, list[float]] = {}
    sets: dict[str, tuple[ShownVariant, list[ShownVariant]]] = {}
    for code in languages:
        variant = variants.of_set(set_kind, None if is_one else code)
        effect = effects.of(variant, code)
        if variant is None or effect is None:
            continue
        drawn = variants.controls_of(variant.name, control)
        if found := effects.times(drawn, code):
            times[code], draws[code], sets[variant.name] = effect.times, found, (variant, drawn)
    if not times:
        return None
    p_values = {code: empirical_p(times[code], draws[code]) for code in times}
    adjusted = [1.0 if p is None else p for p in holm(list(p_values.values()))]
    ratios = [v.impact_ratio for _, drawn in sets.values() for v in drawn if v.impact_ratio is not None]
    won = sum(times[code] > max(draws[code]) for code in times)
    return BesideDraws(
        kind=control,
        times=times,
        draws=draws,
        p_values=p_values,
        p_adjusted=dict(zip(p_values, adjusted, strict=True)),
        p_all=_p_of_mean(times, draws)
        if is_one
        else tail_of_hits([1 / (len(found) + 1) for found in draws.values()], won),
        n_neurons=sum(min(v.n_neurons for v in drawn) for _, drawn in sets.values()),
        n_asked=sum(variant.n_neurons for variant, _ in sets.values()),
        impact_ratio=math.exp(np.log(ratios).mean()) if ratios else None,
    )


def beside_all_kinds(
    variants: Variants, effects: Effects, languages: Sequence[str], set_kind: str
) -> dict[ControlKind, BesideDraws]:
    """`beside_draws` of every kind of control that there is."""
    found = {kind: beside_draws(variants, effects, languages, set_kind, kind) for kind in CONTROL_KINDS}
    return {kind: beside for kind, beside in found.items() if beside is not None}


def _p_of_mean(times: Mapping[str, float], draws: Mapping[str, Sequence[float]]) -> float | None:
    """Of the mean change over languages beside that of each draw, where every draw was measured in every language."""
    if len({len(found) for found in draws.values()}) != 1:
        return None
    with np.errstate(divide="ignore"):
        mean = float(np.log([times[code] for code in times]).mean())
        of_draws = np.log([draws[code] for code in times]).mean(axis=0)
    return empirical_p(mean, of_draws.tolist())


def empirical_p(value: float, draws: Sequence[float]) -> float:
    """How likely the set is among the highest, were it one of the draws: (k + 1) / (n + 1) for k of n draws at least as high
    (Davison & Hinkley 1997, §4.2). So n draws give no p-value below 1 / (n + 1)."""
    return (sum(draw >= value for draw in draws) + 1) / (len(draws) + 1)


def tail_of_hits(chances: Sequence[float], n_hits: int) -> float:
    """The probability of at least `n_hits` hits among independent events with these chances."""
    counts: NDArray[np.floating] = np.ones(1)
    for chance in chances:
        counts = np.convolve(counts, [1 - chance, chance])
    return min(1.0, float(counts[n_hits:].sum()))
