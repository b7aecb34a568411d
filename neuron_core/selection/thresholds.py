"""Thresholds: what selection rules compute on a `RuleGrid`. Shapes: L languages, N measured neurons; float64 compares."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from polyneuron.neuron_core.common.errors import NotCertified, SetError
from polyneuron.neuron_core.selection.grid import Floats, LanguageGroup, Mask, RuleGrid


@dataclass(frozen=True)
class Passing:
    """What a rule finds."""

    passes: Mask
    """bool [L, N], true where the neuron is related to the language."""
    thresholds: dict[LanguageGroup, float]
    """In the unit of the impacts (of ranks for `TopRatio`)."""
    setting: float
    """The number that decided: sigma, fraction or ratio."""


def reached_values(grid: RuleGrid, per_token: bool, share: float) -> Floats:
    """float32 [L, N]: the impact that `share` of a neuron's sentences reach; an upper bound where it is bounded. Raises
    SetError when impacts are missing, or fewer small values are stored than `share` needs, and NotCertified when pruned
    detection does not know more than the smallest impact."""
    if share == 1.0:
        values = grid.floats("impact_rms_min" if per_token else "impact_min")
    else:
        values = _nearly_smallest(grid, per_token, share)
    if np.isnan(values).any():
        raise SetError("Some impacts are null or NaN; detect again")
    return values


def _nearly_smallest(grid: RuleGrid, per_token: bool, share: float) -> Floats:
    if not per_token:
        raise SetError(
            "A share below 1 is answered from stored per-token impacts; set per_token, or share to 1"
        )
    if grid.bounded.any():
        raise NotCertified(
            f"Pruned detection knows only the smallest impact of its pruned neurons, so a share of {share:g} cannot be "
            "answered. Detect in mode 'full', or set share to 1"
        )
    values = np.empty(grid.bounded.shape, np.float32)
    for at, language in enumerate(grid.languages):
        n_sentences = min(int(grid.number(language, group, "n_sentences") or 0) for group in grid.widths)
        n_failing = n_sentences - math.ceil(share * n_sentences - 1e-9)
        try:
            values[at] = grid.nth_smallest(language, n_failing + 1)
        except SetError as error:
            raise SetError(
                f"share {share:g} lets {n_failing} of the {n_sentences} sentences of {language} fail. "
                f"{error}; choose a larger share"
            ) from error
    return values


def at_least(
    grid: RuleGrid,
    values: Floats,
    least: dict[LanguageGroup, float],
    setting: float,
    *,
    per_token: bool,
    scales: dict[str, float] | None = None,
) -> Passing:
    """Eq. 2: value / scale >= least. Values are divided as they were when `least` was chosen, so its own neuron passes.
    Raises NotCertified when a threshold lies below the floor down to which pruned detection is proved."""
    passes = np.zeros(values.shape, bool)
    thresholds, unproved = {}, dict[tuple[str, str, str], float]()
    floor_column = "floor_rms" if per_token else "floor_raw"
    for at, language in enumerate(grid.languages):
        for group, span in grid.spans.items():
            wanted, scale = least[language, group], 1.0 if scales is None else scales[group]
            thresholds[language, group] = wanted * scale
            passes[at, span] = values[at, span].astype(np.float64) / scale >= wanted
            floor = grid.number(language, group, floor_column)
            if grid.bounded[at, span].any() and (floor is None or wanted < floor / scale):
                unproved[language, group, floor_column] = wanted * scale
    if unproved:
        where = "; ".join(
            f"group {group}, {language}: threshold {threshold:.6g}, floor {grid.number(language, group, column)}"
            for (language, group, column), threshold in unproved.items()
        )
        raise NotCertified(
            f"The threshold is below the floor down to which pruned detection is proved ({where}). Choose a stricter rule, or "
            "detect with a larger floor_fraction or in mode 'full'",
            unproved,
            setting,
        )
    return Passing(passes, thresholds, setting)


def group_scale(grid: RuleGrid, group: str, per_token: bool) -> float:
    """Root of the mean over languages of the group's mean squared impact. Raises SetError when the summaries lack it, or no
    neuron of the group does anything."""
    column = "seed_mean_square" if per_token else "seed_mean_square_raw"
    squares = [grid.number(language, group, column) for language in grid.languages]
    if any(square is None for square in squares):
        raise SetError(
            f"The summaries have no {column}, which scales impacts; use per_token, or the rule sigma"
        )
    scale = math.sqrt(math.fsum(square for square in squares if square is not None) / len(squares))
    if not (scale > 0 and math.isfinite(scale)):
        raise SetError(
            f"The impacts of group {group} have scale {scale:g}: no neuron of it does anything. Leave the group out"
        )
    return scale


def kth_largest(values: npt.NDArray[np.float64], fraction: float) -> float:
    """The K-th largest value, K = round(fraction * len), at least 1; the smallest positive one where that is 0. Raises
    SetError when all values are 0."""
    k = min(len(values), max(1, round(fraction * len(values))))
    kth = float(np.partition(values, len(values) - k)[len(values) - k])
    if kth > 0:
        return kth
    positive = values[values > 0]
    if not len(positive):
        raise SetError("Every impact is 0, so no threshold can be chosen; check the model and the corpus")
    return float(positive.min())
