"""Selection rules: when is a neuron related to a language? Each rule turns an `ImpactGrid` into a mask and
thresholds.

Shapes: L languages, N measured neurons. Impacts are compared in float64. "Per-token impact" is the Frobenius
norm of the change over the root of the sentence's scored tokens; without it, longer sentences and languages
with more tokens score higher.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np

from polyneuron.neuron_core.common.errors import ConfigError, NotCertified
from polyneuron.neuron_core.selection.grid import Floats, ImpactGrid
from polyneuron.neuron_core.selection.names import RuleName
from polyneuron.neuron_core.selection.thresholds import (
    Passing,
    at_least,
    group_scale,
    kth_largest,
    reached_values,
)


class Rule(Protocol):
    """A selection rule."""

    name: ClassVar[RuleName]
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
            NotCertified: pruned detection does not prove the answer; names groups, languages, thresholds and
            floors. SetError: the impacts cannot answer the rule.
        """
        ...


@dataclass(frozen=True)
class Sigma:
    """Eq. 2 with one sigma for the whole model: related when the impact is at least sigma on every sentence.

    per_token: sigma is a per-token impact; False: the Frobenius norm of the paper. share: the share of
    sentences that must pass (the paper's is 1), answered from the few smallest values that detection stores.
    """

    sigma: float
    per_token: bool = True
    share: float = 1.0
    name: ClassVar[RuleName] = "sigma"
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
        values = reached_values(grid, self.per_token, self.share)
        least = {(language, group): self.sigma for language in grid.languages for group in grid.widths}
        return at_least(grid, values, least, self.sigma, self.per_token)


@dataclass(frozen=True)
class ScaledSigma:
    """The default: Eq. 2 with one sigma on impacts divided by their group's scale, so that no group drowns
    the others.

    The scale of a group is the root of the mean over languages of its `seed_mean_square`. sigma None: chosen
    so that the shared set is `target_shared` of all measured neurons; then the size of the shared set is a
    choice, not a finding. per_token and share as in `Sigma`.
    """

    sigma: float | None = None
    target_shared: float = 0.003
    per_token: bool = True
    share: float = 1.0
    name: ClassVar[RuleName] = "scaled_sigma"
    setting_name: ClassVar[str] = "sigma"

    def __post_init__(self) -> None:
        if self.sigma is not None:
            _require_positive("sigma", self.sigma)
        _require_share("target_shared", self.target_shared)
        _require_share("share", self.share)

    def describe(self) -> dict[str, Any]:
        """See `Rule`. target_shared is null when sigma was given, since it decided nothing then."""
        return {
            "name": self.name,
            **asdict(self),
            "target_shared": self.target_shared if self.sigma is None else None,
        }

    def neighbour(self, setting: float) -> ScaledSigma:
        """See `Rule`."""
        return replace(self, sigma=setting)

    def passing(self, grid: ImpactGrid) -> Passing:
        """See `Rule`."""
        values = reached_values(grid, self.per_token, self.share)
        scales = {group: group_scale(grid, group, self.per_token) for group in grid.widths}
        sigma = self._sigma(grid, values, scales) if self.sigma is None else self.sigma
        least = {(language, group): sigma for language in grid.languages for group in grid.widths}
        return at_least(grid, values, least, sigma, self.per_token, scales)

    def _sigma(self, grid: ImpactGrid, values: Floats, scales: dict[str, float]) -> float:
        """The K-th largest over neurons of the smallest scaled impact over languages, K = round(target_shared
        * N).
        """
        smallest = values.min(axis=0).astype(np.float64)
        for group, span in grid.spans.items():
            smallest[span] /= scales[group]
        return kth_largest(smallest, self.target_shared)


@dataclass(frozen=True)
class Quantile:
    """In each language and group, over all layers, the `fraction` of neurons with the largest smallest
    impact.

    per_token and share as in `Sigma`. Ties at the threshold all pass.
    """

    fraction: float
    per_token: bool = True
    share: float = 1.0
    name: ClassVar[RuleName] = "quantile"
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
        values = reached_values(grid, self.per_token, self.share)
        least = {
            (language, group): kth_largest(values[at, span].astype(np.float64), self.fraction)
            for at, language in enumerate(grid.languages)
            for group, span in grid.spans.items()
        }
        return at_least(grid, values, least, self.fraction, self.per_token)


@dataclass(frozen=True)
class TopRatio:
    """The published rule on exact impacts: in each layer and group, among the top `ratio` on every sentence.

    Needs the ranks of all neurons, which pruned detection does not have.
    """

    ratio: float
    name: ClassVar[RuleName] = "top_ratio"
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
                        f"Group {group}, {language}: the rule {self.name} needs the rank of every neuron, "
                        "and pruned detection has none. Detect with mode 'full', or choose the rule "
                        "scaled_sigma"
                    )
        passes = ranks <= np.float32(
            self.ratio
        )  # ranks are rounded to float32; the ratio must be rounded alike
        return Passing(
            passes, {(lang, g): self.ratio for lang in grid.languages for g in grid.widths}, self.ratio
        )


def _require_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} must be a number above 0, not {value}")


def _require_share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise ConfigError(f"{name} must be above 0 and at most 1, not {value}")


__all__ = ["Passing", "Quantile", "Rule", "ScaledSigma", "Sigma", "TopRatio"]
