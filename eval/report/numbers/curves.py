"""Set sizes as a function of the threshold: the small table behind the report's slider.

`L` languages, `N` measured neurons, `P` points of the grid of multipliers. At multiplier 1 the counts are the study's sets, at 2
the rule is twice as strict. The curves are shown only if, at the study's own threshold, they count as many neurons as the
stored sets hold.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyneuron.neuron_core.common.errors import SetError, StoreError
from polyneuron.neuron_core.selection.grid import ImpactGrid
from polyneuron.neuron_core.selection.thresholds import kth_largest, reached_values

POINTS_EACH_SIDE = 32
WIDEST = 16.0
MULTIPLIERS: NDArray[np.float64] = np.power(
    WIDEST, np.arange(-POINTS_EACH_SIDE, POINTS_EACH_SIDE + 1) / POINTS_EACH_SIDE
)
"""From 1/16 to 16, evenly spaced in the logarithm, with 1 in the middle, [P]."""
STUDY = POINTS_EACH_SIDE
"""The place of the study's own threshold among the multipliers."""
_TIE = 1e-9  # impacts are float32, 6e-8 apart at least: this only absorbs the division


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """How many neurons pass at each multiple of the study's thresholds."""

    groups: tuple[str, ...]
    """The measured groups, the first axis of the counts."""
    languages: tuple[str, ...]
    """The second axis of the counts by language."""
    related: NDArray[np.int64]
    """Related neurons, [groups, L, P]."""
    shared: NDArray[np.int64]
    """Shared neurons, [groups, P]."""
    strict: NDArray[np.int64]
    """Strictly exclusive neurons, [groups, L, P]."""
    certified_from: float | None
    """The smallest multiplier at which every count is exact; below it some neurons carry only upper bounds, so related and
    shared can only be too large. None: exact everywhere."""

    def exclusive(self) -> NDArray[np.int64]:
        """Eq. 3 as counts: related minus shared, [groups, L, P]."""
        return self.related - self.shared[:, None, :]

    def payload(self) -> dict[str, object]:
        """What the page embeds: integers, and multipliers rounded to four significant digits."""
        return {
            "groups": list(self.groups),
            "languages": list(self.languages),
            "multipliers": [float(f"{m:.4g}") for m in MULTIPLIERS],
            "related": self.related.tolist(),
            "shared": self.shared.tolist(),
            "strict": self.strict.tolist(),
            "certifiedFrom": self.certified_from,
            "start": STUDY,
        }


def read_curves(
    impacts: pa.Table,
    detections: pa.Table,
    sets: pa.Table,
    languages: Sequence[str],
    rule: Mapping[str, Any],
    *,
    thresholds: Mapping[str, float],
) -> Curves | str:
    """The curves under a stored rule, or in words why there are none."""
    if impacts.num_rows == 0:
        return "the store holds no impacts for this model"
    try:
        grid = ImpactGrid(impacts, detections, languages)
        values, bars = _compared(grid, rule, thresholds)
        by_group = {group: values[:, span] for group, span in grid.spans.items()}
        curves = set_size_curves(grid.languages, by_group, bars, _floors(grid, rule))
    except (SetError, StoreError) as error:
        return error.message.rstrip(".")
    if not _reproduces(curves, sets):
        return "the stored impacts do not give the stored sets back at the stored thresholds"
    return curves


def set_size_curves(
    languages: tuple[str, ...],
    impacts: Mapping[str, NDArray[np.floating]],
    thresholds: Mapping[str, NDArray[np.floating]],
    floors: Mapping[str, NDArray[np.floating]],
) -> Curves:
    """Counts of related, shared and strictly exclusive neurons for every multiplier of the thresholds.

    ``impacts[group]``: [L, N], what the rule compares (the larger, the more related). ``thresholds[group]``: [L].
    ``floors[group]``: [L], the bound below which neurons were not followed; NaN, or no group, where all were. Raises
    StoreError when a threshold is not positive: then no multiplier means anything.
    """
    shape = len(impacts), len(languages), len(MULTIPLIERS)
    related, strict = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    shared = np.zeros((shape[0], shape[2]), np.int64)
    certified_from = 0.0
    for g, group in enumerate(impacts):
        threshold = np.asarray(thresholds[group], np.float64)
        if not np.all(threshold > 0):
            raise StoreError(
                f"The stored threshold of group {group} is {threshold.tolist()}: it must be positive."
            )
        relative_LN = np.asarray(impacts[group], np.float64) / threshold[:, None]
        relative_LN = np.where(np.isnan(relative_LN), -np.inf, relative_LN)
        shared[g] = _survivors(relative_LN.min(axis=0))
        several = len(languages) > 1
        largest_N = relative_LN.max(axis=0)
        second_N = np.partition(relative_LN, -2, axis=0)[-2] if several else largest_N
        for i in range(len(languages)):
            related[g, i] = _survivors(relative_LN[i])
            if several:
                others_N = np.where(relative_LN[i] == largest_N, second_N, largest_N)
                strict[g, i] = related[g, i] - _survivors(np.minimum(relative_LN[i], others_N))
        ratio = np.asarray(floors.get(group, np.nan), np.float64) / threshold
        if np.any(np.isfinite(ratio)):
            certified_from = max(certified_from, float(np.nanmax(ratio)))
    return Curves(
        groups=tuple(impacts),
        languages=languages,
        related=related,
        shared=shared,
        strict=strict,
        certified_from=certified_from or None,
    )


def _survivors(values_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many values are at or above each multiplier, [P]."""
    ordered = np.sort(values_N)
    return len(ordered) - np.searchsorted(ordered, MULTIPLIERS * (1 - _TIE), side="left")


def _compared(
    grid: ImpactGrid, rule: Mapping[str, Any], thresholds: Mapping[str, float]
) -> tuple[NDArray[np.floating], dict[str, NDArray[np.float64]]]:
    """What the rule compares, [L, N], larger meaning more related, and the study's threshold by group, [L]."""
    n_languages = len(grid.languages)
    if "ratio" in rule:
        least = 1 / float(np.float32(rule["ratio"]))  # ranks are stored as float32
        with np.errstate(divide="ignore"):
            return 1 / grid.floats("rank_worst").astype(np.float64), dict.fromkeys(
                grid.widths, np.full(n_languages, least)
            )
    values = reached_values(grid, bool(rule.get("per_token", True)), float(rule.get("share", 1.0)))
    if "fraction" in rule:
        wanted = float(rule["fraction"])
        of_group = {group: values[:, span].astype(np.float64) for group, span in grid.spans.items()}
        return values, {g: np.array([kth_largest(v, wanted) for v in of_group[g]]) for g in of_group}
    return values, {group: np.full(n_languages, thresholds.get(group, np.nan)) for group in grid.widths}


def _floors(grid: ImpactGrid, rule: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """By group, the bound below which neurons were not followed, [L]; NaN where all were."""
    column = "floor_rms" if rule.get("per_token", True) else "floor_raw"

    def floor(language: str, group: str) -> float:
        value = grid.number(language, group, column) if grid.number(language, group, "n_bounded") else None
        return np.nan if value is None else value

    return {group: np.array([floor(code, group) for code in grid.languages]) for group in grid.widths}


def _reproduces(curves: Curves, sets: pa.Table) -> bool:
    related = sets.filter(pc.equal(sets["kind"], "related"))
    stored = Counter(zip(related["group"].to_pylist(), related["language"].to_pylist(), strict=True))
    return all(
        int(curves.related[g, i, STUDY]) == stored.get((group, language), 0)
        for g, group in enumerate(curves.groups)
        for i, language in enumerate(curves.languages)
    )
