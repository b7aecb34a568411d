"""Selection rules: when is a neuron related to a language? Each rule turns a `RuleGrid` into a mask and thresholds.

Shapes: L languages, N measured neurons. Impacts are compared in float64. "Per-token impact" is the Frobenius norm of the
change over the root of the sentence's scored tokens; without it, longer sentences and languages with more tokens score higher.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from polyneuron.neuron_core.common.errors import ConfigError, NotCertified
from polyneuron.neuron_core.selection import thresholds
from polyneuron.neuron_core.selection.grid import Floats, RuleGrid
from polyneuron.neuron_core.selection.names import RuleName

_SHARES = ("share", "target_shared", "fraction", "ratio")


@dataclass(frozen=True)
class Rule(ABC):
    """What every selection rule can do. Its neighbours differ from it in the field that `setting_name` names. Of the
    fields, `per_token` says whether impacts are per token or, as in the paper, Frobenius norms; `share` is the share of
    sentences that must pass (the paper's is 1), answered from the few smallest values that detection stores."""

    name: ClassVar[RuleName]
    setting_name: ClassVar[str]

    def __post_init__(self) -> None:
        """Raises ConfigError for a sigma that is not above 0, and for shares outside (0, 1]."""
        for name, value in asdict(self).items():
            if name == "sigma" and value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"sigma must be a number above 0, not {value}")
            if name in _SHARES and not 0 < value <= 1:
                raise ConfigError(f"{name} must be above 0 and at most 1, not {value}")

    def describe(self) -> dict[str, Any]:
        """Returns the rule as JSON-ready fields, `name` included."""
        return {"name": self.name, **asdict(self)}

    def neighbour(self, setting: float) -> Self:
        """Returns the same rule with another setting. Raises ConfigError when it cannot have it."""
        return replace(self, **{self.setting_name: setting})

    @abstractmethod
    def passing(self, grid: RuleGrid) -> thresholds.Passing:
        """Applies the rule to the impacts of all languages. Raises NotCertified when pruned detection does not prove the
        answer (it names groups, languages, thresholds and floors), SetError when the impacts cannot answer the rule."""


@dataclass(frozen=True)
class Sigma(Rule):
    """Eq. 2 with one sigma for the whole model: related when the impact is at least sigma on every sentence."""

    sigma: float
    per_token: bool = True
    share: float = 1.0
    name = "sigma"
    setting_name = "sigma"

    def passing(self, grid: RuleGrid) -> thresholds.Passing:
        """Compares every impact with sigma; raises as `Rule.passing`."""
        values = thresholds.reached_values(grid, self.per_token, self.share)
        return thresholds.at_least(
            grid, values, dict.fromkeys(grid.cells, self.sigma), self.sigma, per_token=self.per_token
        )


@dataclass(frozen=True)
class ScaledSigma(Rule):
    """The default: Eq. 2 with one sigma on impacts divided by their group's scale, so that no group drowns the others. The
    scale of a group is the root of the mean over languages of its `seed_mean_square`. sigma None: chosen so that the shared
    set is `target_shared` of all measured neurons; then the size of the shared set is a choice, not a finding."""

    sigma: float | None = None
    target_shared: float = 0.003
    per_token: bool = True
    share: float = 1.0
    name = "scaled_sigma"
    setting_name = "sigma"

    def describe(self) -> dict[str, Any]:
        """Returns the fields; target_shared is null when sigma was given, since it decided nothing then."""
        return super().describe() | ({} if self.sigma is None else {"target_shared": None})

    def passing(self, grid: RuleGrid) -> thresholds.Passing:
        """Chooses sigma where it is open, and compares the scaled impacts with it; raises as `Rule.passing`."""
        values = thresholds.reached_values(grid, self.per_token, self.share)
        scales = {group: thresholds.group_scale(grid, group, self.per_token) for group in grid.widths}
        sigma = self._chosen_sigma(grid, values, scales) if self.sigma is None else self.sigma
        least = dict.fromkeys(grid.cells, sigma)
        return thresholds.at_least(grid, values, least, sigma, per_token=self.per_token, scales=scales)

    def _chosen_sigma(self, grid: RuleGrid, values: Floats, scales: dict[str, float]) -> float:
        """The K-th largest over neurons of the smallest scaled impact over languages, K = round(target_shared N)."""
        smallest = values.min(axis=0).astype(np.float64)
        for group, span in grid.spans.items():
            smallest[span] /= scales[group]
        return thresholds.kth_largest(smallest, self.target_shared)


@dataclass(frozen=True)
class Quantile(Rule):
    """In each language and group, over all layers, the `fraction` of neurons with the largest smallest impact. Ties at the
    threshold all pass."""

    fraction: float
    per_token: bool = True
    share: float = 1.0
    name = "quantile"
    setting_name = "fraction"

    def passing(self, grid: RuleGrid) -> thresholds.Passing:
        """Compares every impact with the threshold of its language and group; raises as `Rule.passing`."""
        values = thresholds.reached_values(grid, self.per_token, self.share)
        least = {
            (language, group): thresholds.kth_largest(values[at, span].astype(np.float64), self.fraction)
            for at, language in enumerate(grid.languages)
            for group, span in grid.spans.items()
        }
        return thresholds.at_least(grid, values, least, self.fraction, per_token=self.per_token)


@dataclass(frozen=True)
class TopRatio(Rule):
    """The published rule on exact impacts: in each layer and group, among the top `ratio` on every sentence. Needs the
    ranks of all neurons, which pruned detection does not have."""

    ratio: float
    name = "top_ratio"
    setting_name = "ratio"

    def passing(self, grid: RuleGrid) -> thresholds.Passing:
        """Compares worst ranks with the ratio. Raises NotCertified where ranks are missing."""
        ranks = grid.floats("rank_worst")
        for language, group in grid.cells:
            if np.isnan(ranks[grid.languages.index(language), grid.spans[group]]).any():
                raise NotCertified(
                    f"Group {group}, {language}: the rule {self.name} needs the rank of every neuron, and pruned detection has "
                    "none. Detect with mode 'full', or choose the rule scaled_sigma"
                )
        passes = ranks <= np.float32(self.ratio)  # ranks are rounded to float32; the ratio must be too
        return thresholds.Passing(passes, dict.fromkeys(grid.cells, self.ratio), self.ratio)
