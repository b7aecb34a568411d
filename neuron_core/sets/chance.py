"""How many neurons two sets share by chance: hypergeometric counts, and their sums over layers.

Two random sets of n_a and n_b of the w neurons of a layer share c of them with the hypergeometric probability;
layers are independent, so the count over several is distributed as the convolution of theirs.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Probabilities = npt.NDArray[np.float64]
"""Entry c is the probability of a count of c."""
NEGLIGIBLE = 1e-15
"""Probabilities below it are taken for 0 on the way to others."""


def common_of_random(n_a: int, n_b: int, width: int) -> Probabilities:
    """float64 [min(n_a, n_b) + 1]: the distribution of the neurons common to two random sets of one layer."""
    from scipy.stats import hypergeom  # which takes long to load

    probabilities: Probabilities = hypergeom.pmf(np.arange(min(n_a, n_b) + 1), width, n_a, n_b)
    return probabilities


def common_to_all_random(sizes: Sequence[int], width: int) -> Probabilities:
    """float64 [min(sizes) + 1]: the distribution of the neurons common to random sets of these sizes of one layer. Counts with
    less than 1e-15 of it are left out on the way."""
    from scipy.stats import hypergeom

    smallest, *others = sorted(sizes)
    chances: Probabilities = np.zeros(smallest + 1)
    chances[smallest] = 1.0
    for size in others:
        counts = np.flatnonzero(chances > NEGLIGIBLE)
        joint = hypergeom.pmf(np.arange(smallest + 1)[:, None], width, counts[None], size)
        chances = (joint @ chances[counts]).astype(np.float64)
    return chances


def summed(distributions: Iterable[Probabilities]) -> Probabilities:
    """The distribution of the sum of independent counts. Convolved term by term, so small tails keep their digits."""
    total: Probabilities = np.ones(1)
    for distribution in distributions:
        total = np.convolve(total, distribution).astype(np.float64)
    return total


def at_least(distribution: Probabilities, count: int) -> float:
    """The probability of `count` or more."""
    return min(1.0, float(distribution[count:][::-1].sum())) if count > 0 else 1.0


def central_interval(distribution: Probabilities, level: float = 0.95) -> tuple[int, int]:
    """(low, high): the smallest counts whose cumulative probabilities reach (1 - level) / 2 and (1 + level) / 2."""
    cumulative = np.cumsum(distribution)
    low, high = np.searchsorted(cumulative, [(1 - level) / 2, (1 + level) / 2])
    last = len(distribution) - 1
    return min(int(low), last), min(int(high), last)
