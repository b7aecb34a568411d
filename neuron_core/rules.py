"""Selection rules: when is a neuron related to a language? Each rule turns an `ImpactGrid` into a mask and thresholds.

Shapes: L languages, N measured neurons. Impacts are compared in float64. "Per-token impact" is the Frobenius norm of the
change over the root of the sentence's scored tokens; without it, longer sentences and languages with more tokens score
higher.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from neuron_core.errors import ConfigError, NotCertified, SetError
from neuron_core.impact_grid import Cell, Floats, ImpactGrid, Mask


@dataclass(frozen=True)
class Passing:
    """What a rule finds: passes, bool [L, N]; thresholds, by (language, group), in the unit of the impacts (of ranks for
    `TopRatio`); setting, the number that decided (sigma, fraction or ratio)."""

    passes: Mask
    thresholds: dict[Cell, float]
    setting: float


class Rule(Protocol):
    """A selection rule."""

    name: ClassVar[str]
    setting_name: ClassVar[str]

    def describe(self) -> dict[str, Any]:
        """The rule as JSON-ready fields, `name` included."""
        ...

    def neighbour(self, setting: float) -> Rule:
        """The same rule with another setting. Raises ConfigError when it cannot have it."""
        ...

    def passing(self, grid: ImpactGrid) -> Passing:
        """Applies the rule.

        Raises:
            NotCertified: pruned detection does not prove the answer; names groups, languages, thresholds and floors.
            SetError: the impacts cannot answer the rule.
        """
        ...


@dataclass(frozen=True)
class Sigma:
    """Eq. 2 with one sigma for the whole model: related when the impact is at least sigma on every sentence.

    per_token: sigma is a per-token impact; False: the Frobenius norm of the paper. share: the share of sentences that
    must pass (the paper's is 1), answered from the few smallest values that detection stores.
    """

    sigma: float
    per_token: bool = True
    share: float = 1.0
    name: ClassVar[str] = "sigma"
    setting_name: ClassVar[str] = "sigma"

    def __post_init__(self) -> None:
        _require_positive("sigma", self.sigma)
        _require_share("share", self.share)

    def describe(self) -> dict[str, Any]:
        """See `Rule`."""
        return {"name": self.name, **asdict(self)}

    def neighbour(self, setting: float) -> Sigma:
        """See `Rule`."""
        return replace(self, sigma=setting)

    def passing(self, grid: ImpactGrid) -> Passing:
        """See `Rule`."""
        values = _values(grid, self.per_token, self.share)
        least = {(language, group): self.sigma for language in grid.languages for group in grid.widths}
        return _at_least(grid, values, least, self.sigma, self.per_token)


@dataclass(frozen=True)
class ScaledSigma:
    """The default: Eq. 2 with one sigma on impacts divided by their group's scale, so that no group drowns the others.

    The scale of a group is the root of the mean over languages of its `seed_mean_square`. sigma None: chosen so that
    the shared set is `target_shared` of all measured neurons; then the size of the shared set is a choice, not a finding.
    per_token and share as in `Sigma`.
    """

    sigma: float | None = None
    target_shared: float = 0.003
    per_token: bool = True
    share: float = 1.0
    name: ClassVar[str] = "scaled_sigma"
    setting_name: ClassVar[str] = "sigma"

    def __post_init__(self) -> None:
        if self.sigma is not None:
            _require_positive("sigma", self.sigma)
        _require_share("target_shared", self.target_shared)
        _require_share("share", self.share)

    def describe(self) -> dict[str, Any]:
        """See `Rule`. target_shared is null when sigma was given, since it decided nothing then."""
        return {"name": self.name, **asdict(self), "target_shared": self.target_shared if self.sigma is None else None}

    def neighbour(self, setting: float) -> ScaledSigma:
        """See `Rule`."""
        return replace(self, sigma=setting)

    def passing(self, grid: ImpactGrid) -> Passing:
        """See `Rule`."""
        values = _values(grid, self.per_token, self.share)
        scales = {group: _scale(grid, group, self.per_token) for group in grid.widths}
        sigma = self._sigma(grid, values, scales) if self.sigma is None else self.sigma
        least = {(language, group): sigma for language in grid.languages for group in grid.widths}
        return _at_least(grid, values, least, sigma, self.per_token, scales)

    def _sigma(self, grid: ImpactGrid, values: Floats, scales: dict[str, float]) -> float:
        """The K-th largest over neurons of the smallest scaled impact over languages, K = round(target_shared * N)."""
        smallest = values.min(axis=0).astype(np.float64)
        for group, span in grid.spans.items():
            smallest[span] /= scales[group]
        return _kth_largest(smallest, self.target_shared)


@dataclass(frozen=True)
class Quantile:
    """In each language and group, over all layers, the `fraction` of neurons with the largest smallest impact.

    per_token and share as in `Sigma`. Ties at the threshold all pass.
    """

    fraction: float
    per_token: bool = True
    share: float = 1.0
    name: ClassVar[str] = "quantile"
    setting_name: ClassVar[str] = "fraction"

    def __post_init__(self) -> None:
        _require_share("fraction", self.fraction)
        _require_share("share", self.share)

    def describe(self) -> dict[str, Any]:
        """See `Rule`."""
        return {"name": self.name, **asdict(self)}

    def neighbour(self, setting: float) -> Quantile:
        """See `Rule`."""
        return replace(self, fraction=setting)

    def passing(self, grid: ImpactGrid) -> Passing:
        """See `Rule`."""
        values = _values(grid, self.per_token, self.share)
        least = {
            (language, group): _kth_largest(values[at, span].astype(np.float64), self.fraction)
            for at, language in enumerate(grid.languages)
            for group, span in grid.spans.items()
        }
        return _at_least(grid, values, least, self.fraction, self.per_token)


@dataclass(frozen=True)
class TopRatio:
    """The published rule on exact impacts: in each layer and group, among the top `ratio` on every sentence.

    Needs the ranks of all neurons, which pruned detection does not have.
    """

    ratio: float
    name: ClassVar[str] = "top_ratio"
    setting_name: ClassVar[str] = "ratio"

    def __post_init__(self) -> None:
        _require_share("ratio", self.ratio)

    def describe(self) -> dict[str, Any]:
        """See `Rule`."""
        return {"name": self.name, **asdict(self)}

    def neighbour(self, setting: float) -> TopRatio:
        """See `Rule`."""
        return replace(self, ratio=setting)

    def passing(self, grid: ImpactGrid) -> Passing:
        """See `Rule`. Raises NotCertified where ranks are missing."""
        ranks = grid.floats("rank_worst")
        for at, language in enumerate(grid.languages):
            for group, span in grid.spans.items():
                if np.isnan(ranks[at, span]).any():
                    raise NotCertified(
                        f"Group {group}, {language}: the rule {self.name} needs the rank of every neuron, and pruned detection "
                        "has none. Detect with mode 'full', or choose the rule scaled_sigma"
                    )
        passes = ranks <= np.float32(self.ratio)  # ranks are rounded to float32; the ratio must be rounded alike
        return Passing(passes, {(lang, g): self.ratio for lang in grid.languages for g in grid.widths}, self.ratio)


def _values(grid: ImpactGrid, per_token: bool, share: float) -> Floats:
    """float32 [L, N]: the impact that `share` of a neuron's sentences reach; an upper bound where it is bounded."""
    values = _smallest(grid, per_token) if share == 1.0 else _nearly_smallest(grid, per_token, share)
    if np.isnan(values).any():
        raise SetError("Some impacts are null or NaN; detect again")
    return values


def _smallest(grid: ImpactGrid, per_token: bool) -> Floats:
    return grid.floats("impact_rms_min" if per_token else "impact_min")


def _nearly_smallest(grid: ImpactGrid, per_token: bool, share: float) -> Floats:
    if not per_token:
        raise SetError("A share below 1 is answered from stored per-token impacts; set per_token, or share to 1")
    if grid.bounded.any():
        raise NotCertified(
            f"Pruned detection knows only the smallest impact of its pruned neurons, so a share of {share:g} cannot be "
            "answered. Detect in mode 'full', or set share to 1"
        )
    values = np.empty(grid.rows.shape, np.float32)
    for at, language in enumerate(grid.languages):
        n_sentences = min(int(grid.number(language, group, "n_sentences") or 0) for group in grid.widths)
        n_failing = n_sentences - math.ceil(share * n_sentences - 1e-9)
        try:
            values[at] = grid.nth_smallest(language, n_failing + 1)
        except SetError as error:
            raise SetError(
                f"share {share:g} lets {n_failing} of the {n_sentences} sentences of {language} fail. {error}; choose a larger "
                "share"
            ) from error
    return values


def _at_least(
    grid: ImpactGrid,
    values: Floats,
    least: dict[Cell, float],
    setting: float,
    per_token: bool,
    scales: dict[str, float] | None = None,
) -> Passing:
    """Eq. 2: value / scale >= least. Values are divided as they were when `least` was chosen, so its own neuron passes."""
    passes = np.zeros(values.shape, bool)
    thresholds, unproved = {}, []
    for at, language in enumerate(grid.languages):
        for group, span in grid.spans.items():
            wanted, scale = least[language, group], 1.0 if scales is None else scales[group]
            thresholds[language, group] = wanted * scale
            passes[at, span] = values[at, span].astype(np.float64) / scale >= wanted
            floor = grid.number(language, group, "floor_rms" if per_token else "floor_raw")
            if grid.bounded[at, span].any() and (floor is None or wanted < floor / scale):
                unproved.append(f"group {group}, {language}: threshold {wanted * scale:.6g}, floor {floor}")
    if unproved:
        raise NotCertified(
            "The threshold is below the floor down to which pruned detection is proved ("
            + "; ".join(unproved)
            + "). Choose a stricter rule, or detect with a larger floor_fraction or in mode 'full'"
        )
    return Passing(passes, thresholds, setting)


def _scale(grid: ImpactGrid, group: str, per_token: bool) -> float:
    column = "seed_mean_square" if per_token else "seed_mean_square_raw"
    squares = [grid.number(language, group, column) for language in grid.languages]
    if any(square is None for square in squares):
        raise SetError(f"The summaries have no {column}, which scales impacts; use per_token, or the rule sigma")
    scale = math.sqrt(math.fsum(square for square in squares if square is not None) / len(squares))
    if not (scale > 0 and math.isfinite(scale)):
        raise SetError(f"The impacts of group {group} have scale {scale:g}: no neuron of it does anything. Leave the group out")
    return scale


def _kth_largest(values: npt.NDArray[np.float64], fraction: float) -> float:
    """The K-th largest value, K = round(fraction * len), at least 1; the smallest positive one where that is 0."""
    wanted = min(len(values), max(1, round(fraction * len(values))))
    found = float(np.partition(values, len(values) - wanted)[len(values) - wanted])
    if found > 0:
        return found
    positive = values[values > 0]
    if not len(positive):
        raise SetError("Every impact is 0, so no threshold can be chosen; check the model and the corpus")
    return float(positive.min())


def _require_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} must be a number above 0, not {value}")


def _require_share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise ConfigError(f"{name} must be above 0 and at most 1, not {value}")


__all__ = ["Passing", "Quantile", "Rule", "ScaledSigma", "Sigma", "TopRatio"]
