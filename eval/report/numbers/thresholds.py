"""Set sizes as a function of the threshold: the small table behind the report's slider.

``L`` languages, ``N`` neurons of a group over all layers, ``P`` points of the grid. Impacts are divided
by the study's own threshold first: at multiplier 1 the counts are the study's sets, at 2 the rule is
twice as strict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyneuron.neuron_core.common.errors import StoreError

POINTS_EACH_SIDE = 32
WIDEST = 16.0
_TIE = 1e-9  # impacts are float32, 6e-8 apart at least: this only absorbs the division


@dataclass(frozen=True)
class Curves:
    """Counts at each multiplier, int64: ``related`` and ``strict`` [groups, L, P], ``shared`` [groups, P].

    ``certified_from``: the smallest multiplier at which every count is exact; below it some neurons carry
    only upper bounds from the pruned detection, so related and shared can only be too large. ``None``:
    exact everywhere.
    """

    groups: tuple[str, ...]
    languages: tuple[str, ...]
    multipliers: NDArray[np.float64]
    related: NDArray[np.int64]
    shared: NDArray[np.int64]
    strict: NDArray[np.int64]
    certified_from: float | None

    @property
    def study_index(self) -> int:
        """Position of the study's own threshold in the grid."""
        return int(np.argmin(np.abs(np.log(self.multipliers))))

    def exclusive(self) -> NDArray[np.int64]:
        """Eq. 3 as counts: related minus shared, [groups, L, P]."""
        return self.related - self.shared[:, None, :]

    def payload(self) -> dict[str, object]:
        """What the page embeds: integers, and multipliers rounded to four significant digits."""
        return {
            "groups": list(self.groups),
            "languages": list(self.languages),
            "multipliers": [float(f"{m:.4g}") for m in self.multipliers],
            "related": self.related.tolist(),
            "shared": self.shared.tolist(),
            "strict": self.strict.tolist(),
            "certifiedFrom": self.certified_from,
            "start": self.study_index,
        }


def grid() -> NDArray[np.float64]:
    """Multipliers from 1/16 to 16, evenly spaced in the logarithm, with 1 in the middle."""
    steps = np.arange(-POINTS_EACH_SIDE, POINTS_EACH_SIDE + 1) / POINTS_EACH_SIDE
    return np.power(WIDEST, steps)


def set_size_curves(
    languages: tuple[str, ...],
    impacts: Mapping[str, NDArray[np.floating]],
    thresholds: Mapping[str, NDArray[np.floating]],
    floors: Mapping[str, NDArray[np.floating]],
) -> Curves:
    """Counts of related, shared and strictly exclusive neurons for every multiplier of the thresholds.

    ``impacts[group]``: [L, N], what the rule compares (the larger, the more related).
    ``thresholds[group]``: [L]. ``floors[group]``: [L], the bound below which neurons were not followed;
    NaN where all were. Raises StoreError when a threshold is not positive: then no multiplier means
    anything.
    """
    groups = tuple(impacts)
    multipliers = grid()
    n_groups, n_languages, n_points = len(groups), len(languages), len(multipliers)
    related = np.zeros((n_groups, n_languages, n_points), np.int64)
    strict = np.zeros_like(related)
    shared = np.zeros((n_groups, n_points), np.int64)
    certified_from = 0.0
    for g, group in enumerate(groups):
        threshold = np.asarray(thresholds[group], np.float64)
        if not np.all(threshold > 0):
            raise StoreError(
                f"The stored threshold of group {group} is {threshold.tolist()}: it must be positive."
            )
        relative_LN = np.asarray(impacts[group], np.float64) / threshold[:, None]
        relative_LN = np.where(np.isnan(relative_LN), -np.inf, relative_LN)
        shared[g] = _survivors(relative_LN.min(axis=0), multipliers)
        for i in range(n_languages):
            related[g, i] = _survivors(relative_LN[i], multipliers)
            if n_languages > 1:
                others_N = np.delete(relative_LN, i, axis=0).max(axis=0)
                strict[g, i] = related[g, i] - _survivors(np.minimum(relative_LN[i], others_N), multipliers)
        ratio = np.asarray(floors[group], np.float64) / threshold
        if np.any(np.isfinite(ratio)):
            certified_from = max(certified_from, float(np.nanmax(ratio)))
    return Curves(groups, languages, multipliers, related, shared, strict, certified_from or None)


def _survivors(values_N: NDArray[np.float64], multipliers: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many values are at or above each multiplier."""
    ordered = np.sort(values_N)
    return len(ordered) - np.searchsorted(ordered, multipliers * (1 - _TIE), side="left")
