"""Equations 4 to 6 as stored, values with intervals; the study's rule among its neighbours; and the noise floor: how large sets
are by chance, and how alike those of two halves of the sentences."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from polyneuron.eval.report.numbers.study import Row, ShownStudy
from polyneuron.eval.report.words.wording import missing, number, span
from polyneuron.eval.verdicts.statistics import holm
from polyneuron.neuron_core.selection.sensitivity import OWN_RULE

SHARED_RATIO = "shared_ratio"
IMPORTANCE = {"ppl": "imp_ppl", "nll": "imp_nll"}
SCORE = {"ppl": "language_agnostic_score_ppl", "nll": "language_agnostic_score_nll"}


@dataclass(frozen=True, slots=True)
class ShownEstimate:
    """A metric's value with its 95% interval. ``value`` is None together with a reason; a reason beside a value says why an end
    of the interval is open (None) or which languages are left out."""

    value: float | None
    low: float | None
    high: float | None
    null_reason: str | None

    @property
    def words(self) -> str:
        """The value with its interval, or the reason why there is none."""
        if self.value is None:
            return f"no value: {self.null_reason or 'no reason stored'}"
        if self.low is None and self.high is None:
            return number(self.value)
        if self.low is None:
            return f"{number(self.value)} (up to {number(self.high)}, open below)"
        if self.high is None:
            return f"{number(self.value)} (from {number(self.low)}, open above)"
        return f"{number(self.value)} ({span(self.low, self.high)})"


def estimate(study: ShownStudy, metric: str, language: str | None = None) -> ShownEstimate | None:
    """The stored metric of a language (None: of the model), or None when it was not computed."""
    for row in study.rows["metrics"]:
        if row["metric"] == metric and row["language"] == language:
            value, low, high = (_known(row[name]) for name in ("value", "low", "high"))
            return ShownEstimate(value, low, high, row["null_reason"])
    return None


def neighbours(study: ShownStudy) -> list[Row]:
    """The study's own rule and its neighbours, by threshold: rows of sensitivity with means over languages in the place of
    numbers, a label that people read, and whether it is the study's own; empty where no neighbour was tried."""
    by_name: dict[str, list[Row]] = {}
    for row in study.rows["sensitivity"]:
        by_name.setdefault(row["neighbour"], []).append(row)
    found = [_neighbour(name, rows) for name, rows in by_name.items()]
    return sorted(found, key=lambda n: (n["sigma"] is None, n["sigma"] or 0.0, n["label"]))


def sensitivity_band(study: ShownStudy) -> tuple[float, float] | None:
    """Smallest and largest shared ratio over the study's rule and its neighbours; None where fewer than two have one."""
    ratios = [n["shared_ratio"] for n in neighbours(study) if n["shared_ratio"] is not None]
    return (min(ratios), max(ratios)) if len(ratios) > 1 else None


def _neighbour(name: str, rows: list[Row]) -> Row:
    def mean(column: str) -> float | None:
        values = [v for r in rows if (v := _known(r[column])) is not None]
        return sum(values) / len(values) if values else None

    numbers = ("sigma", "n_shared", "n_exclusive", "shared_ratio", "jaccard_related", "jaccard_shared")
    return {column: mean(column) for column in numbers} | {
        "label": re.sub(r" x(?=[\d.])", " × ", name).replace("sigma", "σ"),
        "is_study": name == OWN_RULE,
        "null_reason": "; ".join(dict.fromkeys(r["null_reason"] for r in rows if r["null_reason"])) or None,
    }


def _known(value: float | None) -> float | None:
    return None if missing(value) else value


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """``rows[kind, language]``: as the table `noise_floor` has them; language is "" for the shared set, and for the mean over
    the languages' sets. ``adjusted``: of each language's set, its p-value after Holm's correction over the languages."""

    rows: Mapping[tuple[str, str], Row]
    adjusted: Mapping[tuple[str, str], float | None]

    @property
    def reason(self) -> str | None:
        """Why nothing was drawn, where nothing was."""
        row = self.rows["exclusive", ""]
        return row["null_reason"] if row["chance_size"] is None else None

    def larger(self, kind: str, alpha: float) -> list[str]:
        """The languages whose sets of a kind are larger than by chance."""
        return [
            code for (of, code), p in self.adjusted.items() if of == kind and p is not None and p <= alpha
        ]


def noise_floor_of(study: ShownStudy) -> NoiseFloor | None:
    """None where it was not measured."""
    rows = {(row["kind"], row["language"] or ""): row for row in study.rows["noise_floor"]}
    if not rows:
        return None
    adjusted: dict[tuple[str, str], float | None] = {}
    for kind in ("exclusive", "strict_exclusive"):
        keys = [(kind, code) for code in study.languages if (kind, code) in rows]
        adjusted |= dict(zip(keys, holm([rows[key]["p_value"] for key in keys]), strict=True))
    return NoiseFloor(rows, adjusted)
