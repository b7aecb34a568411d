"""Whether a language's own set is worth more to it than to the others, and how often that would be so by chance."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from polyneuron.eval.report.numbers.effects import RESAMPLES, SEED, Effects
from polyneuron.eval.report.numbers.variants import ShownVariant, Variants

_MOST_IN_FULL = 8
"""Languages up to which all ways of handing out the sets are gone through."""
_ASSIGNMENTS = 20_000


@dataclass(frozen=True, slots=True)
class Margin:
    """A language's own multiple of its perplexity over the geometric mean of the other languages', without one set."""

    times: float
    """The ratio; above 1 its own language loses more."""
    low: float
    """Lower end of its 95% percentile interval, over sentences of all languages."""
    high: float
    """Upper end."""


@dataclass(frozen=True, slots=True)
class Hits:
    """How many of the languages' own sets hit home, and how many would if the sets were handed out at random."""

    n: int
    """Languages counted."""
    found: int
    """How many hit home."""
    chance: float
    """The mean over all ways of giving each language one of the sets."""
    p_value: float
    """The share of ways that hit home as often."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Specificity:
    """Of the sets of one kind, on the languages that have one and in which all of them were measured."""

    victims: Mapping[str, str | None]
    """The language that each language's set hurts most; None where it hurts none."""
    margins: Mapping[str, Margin]
    """By language."""
    sets: Hits
    """Sets that hurt their own language more than any other."""
    languages: Hits
    """Languages that no other language's set hurts more than their own."""


def specificity_of(
    variants: Variants, effects: Effects, languages: tuple[str, ...], kind: str
) -> Specificity | None:
    """Every language's set of `kind`, off, in every language; None for fewer than two languages."""
    base = variants.base
    own = {code: v for code in languages if code in effects.base and (v := variants.of_set(kind, code))}
    complete = {code: v for code, v in own.items() if all(effects.of(v, other) for other in own)}
    if base is None or len(complete) < 2:
        return None
    codes = list(complete)
    changes_SLB = np.array(
        [
            [_changes(base, complete[owner], code, place) for place, code in enumerate(codes)]
            for owner in codes
        ]
    )
    changes_SL = changes_SLB[:, :, 0]  # by owner of the set, and language
    margins = {code: _margin(changes_SLB[i], i) for i, code in enumerate(codes)}
    most = changes_SL.argmax(axis=1)
    victims = {code: codes[most[i]] if changes_SL[i, most[i]] > 0 else None for i, code in enumerate(codes)}
    hurts = changes_SL > 0
    sets = (changes_SL == changes_SL.max(axis=1, keepdims=True)) & hurts
    hurt = (changes_SL == changes_SL.max(axis=0, keepdims=True)) & hurts
    return Specificity(victims=victims, margins=margins, sets=_hits(sets), languages=_hits(hurt))


def _changes(base: ShownVariant, variant: ShownVariant, language: str, place: int) -> NDArray[np.float64]:
    """Nats per token more than unchanged: of all sentences, then of each resample of them, [1 + RESAMPLES]."""
    (_, before, tokens), (_, after, _) = base.nll[language], variant.nll[language]
    both = ~np.isnan(before) & ~np.isnan(after)
    changes, tokens = (after - before)[both], tokens[both]
    weights = _weights(len(changes), place)
    return np.asarray(weights @ changes / (weights @ tokens), np.float64)


@lru_cache(maxsize=128)
def _weights(n: int, place: int) -> NDArray[np.float64]:
    """How often each sentence counts, [1 + RESAMPLES, n]: the same for all sets, and of each language its own."""
    drawn = np.random.default_rng([SEED, place]).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    return np.concatenate([np.ones((1, n)), drawn])


def _margin(changes_LB: NDArray[np.float64], own: int) -> Margin:
    others = np.delete(changes_LB, own, axis=0).mean(axis=0)
    with np.errstate(over="ignore"):
        ratios = np.exp(changes_LB[own] - others)
    low, high = np.percentile(ratios[1:], [2.5, 97.5])
    return Margin(float(ratios[0]), float(low), float(high))


def _hits(home_SL: NDArray[np.bool_]) -> Hits:
    """home_SL: whether a set would hit home if it were that language's own, [sets, languages]."""
    n = len(home_SL)
    if n <= _MOST_IN_FULL:
        ways = np.array(list(itertools.permutations(range(n))))
    else:
        generator = np.random.default_rng(SEED)
        ways = generator.permuted(np.tile(np.arange(n), (_ASSIGNMENTS, 1)), axis=1)
    counts = home_SL[np.arange(n), ways].sum(axis=1)
    found = int(home_SL.trace())
    beyond, extra = int((counts >= found).sum()), int(len(ways) != math.factorial(n))
    return Hits(n, found, float(home_SL.sum()) / n, (beyond + extra) / (len(ways) + extra))
