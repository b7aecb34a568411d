"""Reads the metrics and sensitivity tables: estimates with intervals, and neighbouring rules."""

from __future__ import annotations

import re
from dataclasses import dataclass

from polyneuron.eval.report.numbers.study import ModelStudy, Row
from polyneuron.eval.report.words.wording import missing, number, span
from polyneuron.neuron_core.selection.sensitivity import OWN_RULE

SHARED_RATIO = "shared_ratio"
IMPORTANCE = {"ppl": "imp_ppl", "nll": "imp_nll"}
SCORE = {"ppl": "language_agnostic_score_ppl", "nll": "language_agnostic_score_nll"}
METRIC_NAMES: dict[str, str] = {
    SHARED_RATIO: "shared neuron ratio (Eq. 4)",
    IMPORTANCE["ppl"]: "importance from perplexity (Eq. 5)",
    IMPORTANCE["nll"]: "importance from log perplexity (Eq. 5)",
    SCORE["ppl"]: "language-agnostic score from perplexity (Eq. 6)",
    SCORE["nll"]: "language-agnostic score from log perplexity (Eq. 6)",
}


@dataclass(frozen=True)
class Estimate:
    """A metric's value with its 95% interval.

    ``value`` is None together with a reason; a reason beside a value says why an end of the interval is open
    (None) or which languages are left out.
    """

    value: float | None
    low: float | None
    high: float | None
    null_reason: str | None

    @property
    def words(self) -> str:
        if self.value is None:
            return f"no value: {self.null_reason or 'no reason stored'}"
        if self.low is None and self.high is None:
            return number(self.value)
        if self.low is None:
            return f"{number(self.value)} (up to {number(self.high)}, open below)"
        if self.high is None:
            return f"{number(self.value)} (from {number(self.low)}, open above)"
        return f"{number(self.value)} ({span(self.low, self.high)})"


@dataclass(frozen=True)
class Neighbour:
    """One rule near the study's: its threshold, sizes, Eq. 4 and likeness to the study's sets."""

    label: str
    sigma: float | None
    n_related: float | None
    n_shared: float | None
    n_exclusive: float | None
    shared_ratio: float | None
    jaccard_related: float | None
    jaccard_shared: float | None
    null_reason: str | None
    is_study: bool

    @property
    def remark(self) -> str:
        """The reason without its details in brackets and its advice; both are in the list of omissions."""
        return (self.null_reason or "").split(" (")[0].split(". ")[0].split("; ")[0]


def estimate(study: ModelStudy, metric: str, language: str | None = None) -> Estimate | None:
    """The stored metric of a language (None: of the model), or None when it was not computed."""
    for row in study.metrics:
        if row["metric"] == metric and row["language"] == language:
            return Estimate(_real(row["value"]), _real(row["low"]), _real(row["high"]), row["null_reason"])
    return None


def n_bootstrap(study: ModelStudy) -> int | None:
    return max((row["n_bootstrap"] or 0 for row in study.metrics), default=0) or None


def neighbours(study: ModelStudy) -> list[Neighbour]:
    """The study's own rule and its neighbours, by threshold. Sizes are means over languages."""
    by_name: dict[str, list[Row]] = {}
    for row in study.sensitivity:
        by_name.setdefault(row["neighbour"], []).append(row)
    found = [_neighbour(name, rows) for name, rows in by_name.items()]
    if found and not any(n.is_study for n in found):
        found.append(_own_rule(study))
    return sorted(found, key=lambda n: (n.sigma is None, n.sigma or 0.0, n.label))


def sensitivity_band(study: ModelStudy) -> tuple[float, float] | None:
    """Smallest and largest shared ratio over the study's rule and its neighbours."""
    ratios = [n.shared_ratio for n in neighbours(study) if n.shared_ratio is not None]
    return (min(ratios), max(ratios)) if len(ratios) > 1 else None


def _neighbour(name: str, rows: list[Row]) -> Neighbour:
    def mean(column: str) -> float | None:
        values = [v for r in rows if (v := _real(r[column])) is not None]
        return sum(values) / len(values) if values else None

    reasons = list(dict.fromkeys(r["null_reason"] for r in rows if r["null_reason"]))
    sigma = mean("sigma")
    return Neighbour(
        label=re.sub(r" x(?=[\d.])", " × ", name).replace("sigma", "σ"),
        sigma=sigma,
        n_related=mean("n_related"),
        n_shared=mean("n_shared"),
        n_exclusive=mean("n_exclusive"),
        shared_ratio=mean("shared_ratio"),
        jaccard_related=mean("jaccard_related"),
        jaccard_shared=mean("jaccard_shared"),
        null_reason="; ".join(reasons) or None,
        is_study=name == OWN_RULE,
    )


def _own_rule(study: ModelStudy) -> Neighbour:
    n = len(study.languages)
    shared = study.sets.total("shared")
    exclusive = sum(study.sets.total("exclusive", lang) for lang in study.languages) / n
    related = sum(study.sets.total("related", lang) for lang in study.languages) / n
    sigma = _real(study.rule.get("sigma"))
    ratio = shared / exclusive if exclusive else None
    return Neighbour(OWN_RULE, sigma, related, shared, exclusive, ratio, 1.0, 1.0, None, True)


def _real(value: float | None) -> float | None:
    return None if missing(value) else value
