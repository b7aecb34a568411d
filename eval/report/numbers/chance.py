"""How often random draws do as much as a set: p-values that need no law, only draws."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


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
