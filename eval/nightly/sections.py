"""What a summary says of one model in a night: a headline, a table, and a case for each of its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from polyneuron.eval.nightly.first import FirstNight, Score
from polyneuron.eval.nightly.judge import Judgement, Outcome, worst
from polyneuron.eval.tables.grid import Column, Grid, grid
from polyneuron.eval.tables.text import visible
from polyneuron.eval.verdicts.verdict import BETTER, NO_EVIDENCE, NOT_JUDGED, WORSE, Verdict

ModelNight: TypeAlias = Judgement | FirstNight
"""One model in a night, compared or not."""

NOT_SCORED = "not scored"
_ORDER = (WORSE, NOT_JUDGED, BETTER, NO_EVIDENCE)
"""What needs attention comes first."""
_COMPARED = {
    Outcome.OK: "No regression found",
    Outcome.REGRESSION: "Regression",
    Outcome.NOT_JUDGED: "Could not judge everything",
}
_FIRST = {
    Outcome.OK: "Nothing to compare with, scores recorded",
    Outcome.NOT_JUDGED: "Could not score everything",
}
_SCORES: tuple[str, ...] = ("variant", "benchmark", "language", "metric", "items", "tonight", "95% interval")
_COMPARISONS = ("verdict", *_SCORES[:-1], "baseline", "difference", "95% interval", "p (adjusted)")
_REMARK = Column(text="remark", align="left")


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison or score in words. kind: a verdict, or `NOT_SCORED`, or "" for a score of a first night."""

    owner: str
    name: str
    kind: str
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NightSection:
    """What is shown of one model; its sentences are templates."""

    night: ModelNight
    """What is told of."""
    compared: bool
    """Whether the night had another one to be compared with."""
    headline: str
    """What it comes to, in a few words."""
    counts: tuple[str, ...]
    """How many comparisons ended how, what needs attention first, such as "1 worse"."""
    results: Grid
    """Its comparisons or scores, what needs attention first."""
    cases: tuple[Case, ...]
    """One for each row, in the order in which they were judged."""


def headline(nights: Sequence[ModelNight]) -> str:
    """What all models together come to, in a few words."""
    outcome = worst(night.outcome for night in nights)
    first = bool(nights) and all(isinstance(night, FirstNight) for night in nights)
    return (_FIRST if first else _COMPARED)[outcome]


def section(night: ModelNight) -> NightSection:
    """The section on one model."""
    counts, rows = Counter[str](), list[Verdict | Score]()
    if isinstance(night, FirstNight):
        columns, rows = _SCORES, [*sorted(night.scores, key=lambda score: score.complete)]
        cases = [_score_case(night.model, score) for score in night.scores]
    else:
        columns, rows = _COMPARISONS, [*sorted(night.verdicts, key=lambda v: _ORDER.index(v.verdict))]
        counts.update(verdict.verdict for verdict in night.verdicts)
        cases = [_case(verdict) for verdict in night.verdicts]
    texts = [[visible(_texts(row)[column]) for column in (*columns, "remark")] for row in rows]
    return NightSection(
        night=night,
        compared=isinstance(night, Judgement),
        headline=headline([night]),
        counts=tuple(f"{counts[name]} {name}" for name in _ORDER if counts[name]),
        results=grid(visible(f"Results of {night.model}"), [*columns, _REMARK], texts, tone="tight"),
        cases=tuple(cases),
    )


def _texts(row: Verdict | Score) -> dict[str, str]:
    """What stands in each column, by its head."""
    shown = {
        "variant": row.variant,
        "benchmark": row.benchmark,
        "language": row.language,
        "metric": row.metric if row.filter == "none" else f"{row.metric}, {row.filter}",
        "tonight": _points(row.value),
    }
    if isinstance(row, Score):
        return shown | {"items": str(row.n), "95% interval": _interval(row), "remark": _remark(row)}
    return shown | {
        "verdict": row.verdict,
        "items": str(row.n_pairs),
        "baseline": _points(row.baseline_value),
        "difference": _points(row.delta, signed=True),
        "95% interval": _interval(row, signed=True),
        "p (adjusted)": "–" if row.p_adjusted is None else f"{row.p_adjusted:.2g}",
        "remark": row.reason or "",
    }


def _case(verdict: Verdict) -> Case:
    """The numbers and the test, or the reason why there are none."""
    owner = f"{verdict.model}.{verdict.variant}"
    if verdict.verdict == NOT_JUDGED:
        return Case(owner, _named(verdict), NOT_JUDGED, verdict.reason or NOT_JUDGED)
    shown = _texts(verdict)
    words = (
        f"{shown['tonight']} against {shown['baseline']} in night {verdict.baseline}: {shown['difference']} points "
        f"(95% interval {shown['95% interval']}), {verdict.n_pairs} items, {verdict.test}, adjusted p "
        f"{shown['p (adjusted)']}" + (f"; {verdict.reason}" if verdict.reason else "")
    )
    return Case(owner, _named(verdict), verdict.verdict, words)


def _score_case(model: str, score: Score) -> Case:
    owner = f"{model}.{score.variant}"
    if not score.complete:
        return Case(owner, _named(score), NOT_SCORED, _remark(score))
    words = (
        f"{_points(score.value)} (95% interval {_interval(score)}), {score.n} items, compared with nothing"
    )
    return Case(owner, _named(score), "", words)


def _remark(score: Score) -> str:
    if score.complete:
        return ""
    return score.reason or f"{score.n_unscored} of {score.n + score.n_unscored} items not scored"


def _named(row: Verdict | Score) -> str:
    return f"{row.benchmark} {row.language} {row.metric} {row.filter}"


def _interval(row: Verdict | Score, signed: bool = False) -> str:
    if row.low is None or row.high is None:
        return "–"
    return f"{_points(row.low, signed)} to {_points(row.high, signed)}"


def _points(value: float | None, signed: bool = False) -> str:
    """A share as points of 100."""
    if value is None:
        return "–"
    return f"{100 * value:+.2f}" if signed else f"{100 * value:.2f}"
