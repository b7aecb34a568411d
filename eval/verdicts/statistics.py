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
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

Reals = npt.NDArray[np.float64]
Alternative = Literal["two-sided", "less"]
"""What is suspected: that a differs from b, or that a is below b."""

_LEVEL = 0.95
_TAILS = (1 - _LEVEL) / 2, (1 + _LEVEL) / 2
_Z = float(norm.ppf(_TAILS[1]))
"""All intervals are 95% intervals."""

_CHUNK_DRAWS = 4_000_000
"""Draws held in memory at once."""
_ROUNDING = 1e-9
"""Relative slack by which sums of the same numbers in another order still count as equal."""


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """Interval and standard error of a mean, in the unit of the values."""

    low: float
    high: float
    stderr: float


@dataclass(frozen=True, slots=True)
class BootstrapTest:
    """p-values of a mean difference by what is suspected, and the interval of that mean, in the unit of the differences."""

    p_values: dict[Alternative, float]
    low: float
    high: float


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


def bootstrap_mean(values: npt.ArrayLike, n_resamples: int, seed: int | Sequence[int]) -> MeanInterval:
    """95% percentile interval and standard error of the mean of `values` [n] (Efron & Tibshirani 1993, §6 and §13.3).

    Equal values, or a single one, give an interval without width: nothing in them says how they vary.
    Raises ValueError when there is no value.
    """
    data = _finite(values)
    means = _resampled_means(data, n_resamples, seed)
    return MeanInterval(*_percentiles(means), float(means.std()))


def mcnemar_exact(only_a: int, only_b: int, alternative: Alternative = "two-sided") -> float:
    """Exact p-value that a and b are right equally often (McNemar 1947 in its exact form: binomial with share 1/2).

    only_a, only_b: items that only a, or only b, has right; the others say nothing about a difference.
    1 where there are none. Never 0: where the tail underflows, the smallest normal float stands in.
    """
    if only_a < 0 or only_b < 0:
        raise ValueError(f"Counts of items cannot be negative: {only_a}, {only_b}")
    if only_a + only_b == 0:
        return 1.0
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


def paired_bootstrap(
    differences: npt.ArrayLike, n_resamples: int, seed: int | Sequence[int]
) -> BootstrapTest:
    """Tests whether the mean of `differences` [n], a - b item by item, is zero; with its 95% percentile interval.

    Shift method (Efron & Tibshirani 1993, §16.4): the differences are centred, so that their mean is zero as the null says, and
    resampled; k is the number of the B resampled means that lie at least as far out as the observed one. p = (k + 1) / (B + 1),
    which is never 0 (Davison & Hinkley 1997, §4.2). Raises ValueError when there is no difference.
    """
    data = _finite(differences)
    observed, means = float(data.mean()), _resampled_means(data, n_resamples, seed)
    centred, slack = means - observed, _ROUNDING * abs(observed)
    beyond: dict[Alternative, npt.NDArray[np.bool_]] = {
        "two-sided": np.abs(centred) >= abs(observed) - slack,
        "less": centred <= observed + slack,
    }
    p_values = {name: (int(found.sum()) + 1) / (len(means) + 1) for name, found in beyond.items()}
    return BootstrapTest(p_values, *_percentiles(means))


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


def _resampled_means(data: Reals, n_resamples: int, seed: int | Sequence[int]) -> Reals:
    """Means of `n_resamples` resamples of `data` [n] with replacement.

    Zeros add nothing to a sum, so only how often anything else is drawn is drawn, and then what: the same
    distribution, and many times faster for two nights that agree on almost every item.
    """
    if n_resamples < 1:
        raise ValueError(f"A bootstrap needs at least one resample, not {n_resamples}")
    generator = np.random.default_rng(seed)
    n, others = len(data), data[data != 0]
    sums = np.zeros(n_resamples)
    if len(others):
        times = generator.binomial(n, len(others) / n, n_resamples)
        step = max(1, _CHUNK_DRAWS // len(others))
        for start in range(0, n_resamples, step):
            drawn = times[start : start + step]
            picks = generator.integers(0, len(others), int(drawn.sum()))
            owner = np.repeat(np.arange(len(drawn)), drawn)
            sums[start : start + step] = np.bincount(owner, others[picks], minlength=len(drawn))
    return np.asarray(sums / n, np.float64)


def _percentiles(means: Reals) -> tuple[float, float]:
    low, high = np.quantile(means, _TAILS)
    return float(low), float(high)


def _finite(values: npt.ArrayLike) -> Reals:
    data = np.asarray(values, np.float64)
    if data.ndim != 1 or not len(data) or not np.isfinite(data).all():
        raise ValueError("A bootstrap needs a list of at least one finite value")
    return data


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero in [low, high]; the end it does not cross before."""
    if function(low) <= 0:
        return low
    if function(high) >= 0:
        return high
    return float(brentq(function, low, high, xtol=1e-12))
