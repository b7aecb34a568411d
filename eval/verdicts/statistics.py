"""Intervals and tests for benchmark scores. Pure functions of numbers; shares and p-values are fractions of 1.

In a comparison, a is what is judged and b the baseline; item i of a is paired with item i of b.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Reals = npt.NDArray[np.float64]
Alternative = Literal["two-sided", "less"]
"""What is suspected: that a differs from b, or that a is below b."""

_Z = float(ndtri((1 + 0.95) / 2))
"""All intervals are 95% intervals."""

_MOST_SUMS = 100_000
"""Choices of signs up to which all are gone through."""
_EXACT_TOSSES = 1000
"""Tosses up to which probabilities are rounded once only, so that the smallest p-values meet their level exactly."""
_LEAST_DRAWS, _DRAWS_BEYOND = 10_000, 10
"""Draws of a small family, and draws beyond the observed sum, at the strictest level of a family, that make its p-value firm."""
_FIRST_DRAWS = 2000
_CHUNK_DRAWS = 4_000_000
"""Signs drawn at first, and held in memory at once."""
_ENOUGH_BEYOND = 200
"""Draws beyond the observed sum that make a p-value firm: its relative standard error is then 7%."""
_DIGITS = 12
"""Decimals, relative to the largest, to which sizes of differences count as equal."""
_ROUNDING = 1e-9
"""Relative slack by which sums of the same numbers in another order still count as equal."""


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """Interval and standard error of a mean, in the unit of the values."""

    low: float
    high: float
    stderr: float


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95% score interval of a share, `successes` of `n` (Wilson 1927; method 3 of Newcombe 1998, Stat. Med. 17:857). Raises
    ValueError unless 0 <= successes <= n and n > 0."""
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no share: 0 <= successes <= n and n >= 1 must hold")
    z = _Z
    centre = successes + z * z / 2
    half = z * math.sqrt(successes * (n - successes) / n + z * z / 4)
    low = 0.0 if successes == 0 else (centre - half) / (n + z * z)
    high = 1.0 if successes == n else (centre + half) / (n + z * z)
    return low, high


def mean_interval(values: npt.ArrayLike) -> MeanInterval:
    """95% interval and standard error of the mean of scores [n] in [0, 1].

    Agresti and Coull's "plus four" (1998, Am. Stat. 52:119), for scores that may lie between 0 and 1 too: two of 0 and two of 1
    are added before the normal interval is taken. So it has width also where all scores are equal, and for a single one. Raises
    ValueError when there is no score, or one is outside [0, 1].
    """
    data = _between(values, 0.0, 1.0)
    low, high = _adjusted(data, np.array([0.0, 0.0, 1.0, 1.0]))
    return MeanInterval(low, high, float(data.std()) / math.sqrt(len(data)))


def mcnemar_exact(only_a: int, only_b: int, alternative: Alternative = "two-sided") -> float:
    """Exact p-value that a and b are right equally often (McNemar 1947 in its exact form: binomial with share 1/2).

    only_a, only_b: items that only a, or only b, has right; the others say nothing about a difference.
    1 where there are none. Never 0: where the tail underflows, the smallest normal float stands in.
    """
    if only_a < 0 or only_b < 0:
        raise ValueError(f"Counts of items cannot be negative: {only_a}, {only_b}")
    if only_a + only_b == 0:
        return 1.0
    from scipy.stats import binomtest  # which takes long to load

    found = binomtest(only_a, only_a + only_b, 0.5, alternative=alternative).pvalue
    return min(1.0, max(float(found), sys.float_info.min))


def paired_share_interval(only_a: int, only_b: int, n: int) -> tuple[float, float]:
    """95% score interval of (share a has right) - (share b has right) over `n` paired items (Tango 1998, Stat. Med. 17:891).

    It keeps its level with few items, and has width also where no item differs. It inverts the asymptotic
    McNemar test, so beside an exact p-value near the level it may be slightly the narrower judgement.
    Raises ValueError unless only_a + only_b <= n and n > 0.
    """
    if n < 1 or min(only_a, only_b) < 0 or only_a + only_b > n:
        raise ValueError(f"{only_a} and {only_b} of {n} pairs cannot differ")
    estimate = (only_a - only_b) / n

    def score(difference: float) -> float:
        """Standardised distance of the data from `difference`; falls as the difference grows."""
        # The likeliest share of items that only b has right, given the difference: a root of a quadratic.
        linear = -only_a - only_b + (2 * n - only_a + only_b) * difference
        constant = -only_b * difference * (1 - difference)
        root = math.sqrt(max(linear * linear - 8 * n * constant, 0.0))
        only_b_share = max((root - linear) / (4 * n), 0.0)
        variance = n * (2 * only_b_share + difference * (1 - difference))
        distance = only_a - only_b - n * difference
        if variance <= 0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / math.sqrt(variance)

    return _root(lambda d: score(d) - _Z, -1.0, estimate), _root(lambda d: score(d) + _Z, estimate, 1.0)


def paired_mean_interval(differences: npt.ArrayLike) -> tuple[float, float]:
    """95% interval of the mean of paired `differences` [n] in [-1, 1].

    Bonett and Price's adjustment (2012, J. Educ. Behav. Stat. 37:479), for differences that may be fractions: one of -1 and one
    of 1 are added before the normal interval is taken. So it has width also where no item differs, and it keeps its level where
    few do. It may disagree with a test near the level. Raises ValueError when there is no difference, or one is outside [-1,
    1].
    """
    return _adjusted(_between(differences, -1.0, 1.0), np.array([-1.0, 1.0]))


def sign_flip(
    differences: npt.ArrayLike, n_draws: int, seed: int | Sequence[int]
) -> dict[Alternative, float]:
    """p-values that `differences` [n], a - b item by item, are as likely to be turned round as not (Fisher 1935, §21).

    Where a and b are the same but for chance, every item's two values may be exchanged: the sum of the differences is held
    against its values under all choices of signs. Exact where equal sizes leave few enough distinct choices, as in McNemar's
    case; otherwise with up to `n_draws` random choices: p = (k + 1) / (draws + 1) for k at least as far out as the observed one,
    or h / l where the h-th of them comes at draw l and h is enough (Besag & Clifford 1991, Biometrika 78:301). Either way p is at
    most x with probability at most x, however few items there are, and never 0. Raises ValueError when there is no difference.
    """
    data = _finite(differences)
    if n_draws < 1:
        raise ValueError(f"A test needs at least one draw, not {n_draws}")
    sizes, counts = _sizes(data)
    observed, slack = float(data.sum()), _ROUNDING * float(np.abs(data).sum())

    def beyond(sums: Reals) -> dict[Alternative, npt.NDArray[np.bool_]]:
        return {"two-sided": np.abs(sums) >= abs(observed) - slack, "less": sums <= observed + slack}

    if math.prod((counts + 1).tolist()) <= _MOST_SUMS:
        sums, chances = _all_sums(sizes, counts)
        tails = {name: float(chances[found].sum()) for name, found in beyond(sums).items()}
        return {name: min(1.0, max(tail, sys.float_info.min)) for name, tail in tails.items()}
    generator = np.random.default_rng(seed)
    n_beyond: dict[Alternative, int] = {"two-sided": 0, "less": 0}
    p_values: dict[Alternative, float] = {}
    drawn = 0
    while n_beyond and drawn < n_draws:
        step = min(n_draws - drawn, max(1, min(drawn + _FIRST_DRAWS, _CHUNK_DRAWS // len(sizes))))
        for name, found in beyond(_random_sums(sizes, counts, step, generator)).items():
            if name in p_values:
                continue
            places, missing = np.flatnonzero(found), _ENOUGH_BEYOND - n_beyond[name]
            if len(places) >= missing:
                p_values[name] = _ENOUGH_BEYOND / (drawn + int(places[missing - 1]) + 1)
                del n_beyond[name]
            else:
                n_beyond[name] += len(places)
        drawn += step
    return p_values | {name: (k + 1) / (n_draws + 1) for name, k in n_beyond.items()}


def draws_for(n_family: int, alpha: float) -> int:
    """How many draws `sign_flip` needs in a family of `n_family` at level `alpha`: Holm multiplies the smallest p-value by the
    family's size, so with few draws even the smallest possible one could not reach alpha."""
    return max(_LEAST_DRAWS, math.ceil(_DRAWS_BEYOND * n_family / alpha))


def smallest_p(n: int, alternative: Alternative) -> float:
    """The smallest p-value that a paired test of `n` items can give: every item differs, and all in one direction."""
    return math.ldexp(1.0, -n) if alternative == "less" else min(1.0, math.ldexp(1.0, 1 - n))


def fit_to_judge(n_items: Sequence[int], alpha: float, alternative: Alternative) -> list[bool]:
    """Which comparisons, of so many paired items each, have items enough to be judged as one family at level `alpha`: the largest
    family, from the most items downwards, of which each could be rejected on its own, at Holm's first level, alpha over the
    family's size. It depends on how many items there are, and not on what they say."""
    for least in sorted(set(n_items)):
        members = [n >= least for n in n_items]
        if smallest_p(least, alternative) <= alpha / sum(members):
            return members
    return [False] * len(n_items)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p-values (1979, Scand. J. Stat. 6:65), in the order given; None is no test and stays None.

    Rejecting where the adjusted value is at most alpha makes any false rejection in the family at most alpha
    likely, however the tests depend on each other.
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[i] = largest
    return adjusted


def _sizes(data: Reals) -> tuple[Reals, npt.NDArray[np.int64]]:
    """The distinct sizes of the differences, and how often each occurs. A difference of 0 has no sign."""
    sizes = np.abs(data[data != 0])
    scale = sizes.max() if len(sizes) else 1.0
    distinct, counts = np.unique(np.round(sizes / scale, _DIGITS), return_counts=True)
    return distinct * scale, counts.astype(np.int64)


def _all_sums(sizes: Reals, counts: npt.NDArray[np.int64]) -> tuple[Reals, Reals]:
    """Every sum that signs can give, and its probability."""
    sums, chances = np.zeros(1), np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        sums = np.add.outer(sums, size * (2 * np.arange(count + 1) - count)).ravel()
        chances = np.multiply.outer(chances, _chances_of_heads(int(count))).ravel()
    return sums, chances


def _chances_of_heads(n: int) -> Reals:
    """Probabilities of 0 to n heads in n tosses."""
    if n > _EXACT_TOSSES:
        from scipy.stats import binom

        return np.asarray(binom.pmf(np.arange(n + 1), n, 0.5), np.float64)
    return np.array([math.comb(n, heads) / 2**n for heads in range(n + 1)])


def _random_sums(
    sizes: Reals, counts: npt.NDArray[np.int64], n_draws: int, generator: np.random.Generator
) -> Reals:
    """Sums under random signs, [n_draws]. What occurs once takes a bit, what occurs often a binomial number."""
    once, sums = sizes[counts == 1], np.zeros(n_draws)
    if len(once):
        packed = generator.integers(0, 256, (n_draws, -(-len(once) // 8)), np.uint8)
        sums += 2.0 * (np.unpackbits(packed, axis=1, count=len(once)) @ once) - once.sum()
    if (often := counts > 1).any():
        ups = generator.binomial(counts[often], 0.5, (n_draws, int(often.sum())))
        sums += (2.0 * ups - counts[often]) @ sizes[often]
    return sums


def _adjusted(data: Reals, added: Reals) -> tuple[float, float]:
    """The normal 95% interval of the mean after more values were added, within their range."""
    values = np.concatenate([data, added])
    centre, half = float(values.mean()), _Z * float(values.std()) / math.sqrt(len(values))
    return max(float(added.min()), centre - half), min(float(added.max()), centre + half)


def _between(values: npt.ArrayLike, low: float, high: float) -> Reals:
    data = _finite(values)
    if data.min() < low - _ROUNDING or data.max() > high + _ROUNDING:
        raise ValueError(f"Values from {data.min():g} to {data.max():g} do not lie in [{low:g}, {high:g}]")
    return data


def _finite(values: npt.ArrayLike) -> Reals:
    data = np.asarray(values, np.float64)
    if data.ndim != 1 or not len(data) or not np.isfinite(data).all():
        raise ValueError("There must be a list of at least one value, all finite")
    return data


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero in [low, high]; the end it does not cross before."""
    if function(low) <= 0:
        return low
    if function(high) >= 0:
        return high
    from scipy.optimize import brentq  # which takes long to load

    return float(brentq(function, low, high, xtol=1e-12))
