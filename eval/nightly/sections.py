"""What a summary says of one model in a night: a headline, a table, and a case for each of its rows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

from polyneuron.eval.nightly.baseline import Row
from polyneuron.eval.nightly.judge import FirstNight, Judgement, Outcome, complete, worst
from polyneuron.eval.tables.grid import Column, grid
from polyneuron.eval.tables.text import visible
from polyneuron.eval.verdicts.verdict import BETTER, NO_EVIDENCE, NOT_JUDGED, WORSE

ModelNight: TypeAlias = Judgement | FirstNight
"""One model in a night, compared or not."""

NOT_SCORED, LET_PASS = "not scored", "let pass"
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
    """One comparison or score in words. kind: a verdict, or `NOT_SCORED`, `LET_PASS` for too few items that may be, or "" for a
    score of a first night."""

    owner: str
    name: str
    kind: str
    words: str


def headline(nights: Sequence[ModelNight]) -> str:
    """What all models together come to, in a few words."""
    outcome = worst(night.outcome for night in nights)
    first = bool(nights) and all(isinstance(night, FirstNight) for night in nights)
    return (_FIRST if first else _COMPARED)[outcome]


def section(night: ModelNight) -> dict[str, Any]:
    """What the templates show of one model.

    ``counts``: how many comparisons ended how, such as "1 worse"; ``results``: a `Grid` of its comparisons or scores; in both
    what needs attention comes first. ``n_family``: how many comparisons p-values are adjusted over. ``cases``: a `Case` for each
    row, in the order in which they were judged.
    """
    counts, families = Counter[str](), set[int]()
    if isinstance(night, FirstNight):
        columns, rows = _SCORES, sorted(night.scores, key=complete)
        cases = [_score_case(night.model, score) for score in night.scores]
    else:
        verdicts = [asdict(verdict) for verdict in night.verdicts]
        columns, rows = _COMPARISONS, sorted(verdicts, key=lambda row: _ORDER.index(row["verdict"]))
        counts.update(row["verdict"] for row in verdicts)
        families = {row["n_family"] for row in verdicts if row["n_family"] is not None}
        cases = [_case(row) for row in verdicts]
        few = [v.has_too_few_items and night.few_items_pass for v in night.verdicts]
        cases = [
            replace(case, kind=LET_PASS) if passes else case for case, passes in zip(cases, few, strict=True)
        ]
    texts = [[visible(_texts(row)[column]) for column in (*columns, "remark")] for row in rows]
    return {
        "night": night,
        "compared": isinstance(night, Judgement),
        "headline": headline([night]),
        "counts": [f"{counts[name]} {name}" for name in _ORDER if counts[name]],
        "results": grid(visible(f"Results of {night.model}"), [*columns, _REMARK], texts, tone="tight"),
        "n_family": max(families, default=0),
        "cases": cases,
    }


def _texts(row: Row) -> dict[str, str]:
    """What stands in each column, by its head. ``row``: of the table `verdicts` or `scores`."""
    compared = "verdict" in row
    shown = {name: row[name] for name in ("variant", "benchmark", "language")} | {
        "metric": row["metric"] if row["filter"] == "none" else f"{row['metric']}, {row['filter']}",
        "tonight": _points(row["value"]),
        "95% interval": _interval(row, signed=compared),
    }
    if not compared:
        return shown | {"items": str(row["n"]), "remark": _remark(row)}
    return shown | {
        "verdict": row["verdict"],
        "items": str(row["n_pairs"]),
        "baseline": _points(row["baseline_value"]),
        "difference": _points(row["delta"], signed=True),
        "p (adjusted)": "–" if row["p_adjusted"] is None else f"{row['p_adjusted']:.2g}",
        "remark": row["reason"] or "",
    }


def _case(row: Row) -> Case:
    """The numbers and the test, or the reason why there are none."""
    owner = f"{row['model']}.{row['variant']}"
    if row["verdict"] == NOT_JUDGED:
        return Case(owner, _named(row), NOT_JUDGED, row["reason"] or NOT_JUDGED)
    shown = _texts(row)
    words = (
        f"{shown['tonight']} against {shown['baseline']} in night {row['baseline']}: {shown['difference']} points "
        f"(95% interval {shown['95% interval']}), {shown['items']} items, {row['test']}, adjusted p "
        f"{shown['p (adjusted)']} over {row['n_family']} comparisons at level {row['alpha']:g}"
        + (f"; {row['reason']}" if row["reason"] else "")
    )
    return Case(owner, _named(row), row["verdict"], words)


def _score_case(model: str, row: Row) -> Case:
    owner, shown = f"{model}.{row['variant']}", _texts(row)
    if not complete(row):
        return Case(owner, _named(row), NOT_SCORED, shown["remark"])
    words = (
        f"{shown['tonight']} (95% interval {shown['95% interval']}), {row['n']} items, compared with nothing"
    )
    return Case(owner, _named(row), "", words)


def _remark(row: Row) -> str:
    if complete(row):
        return ""
    n_items = row["n"] + row["n_unscored"]
    return row["null_reason"] or f"{row['n_unscored']} of {n_items} items not scored"


def _named(row: Row) -> str:
    return "{benchmark} {language} {metric} {filter}".format_map(row)


def _interval(row: Row, signed: bool) -> str:
    if row["low"] is None or row["high"] is None:
        return "–"
    return f"{_points(row['low'], signed)} to {_points(row['high'], signed)}"


def _points(value: float | None, signed: bool = False) -> str:
    """A share as points of 100."""
    return "–" if value is None else f"{100 * value:+.2f}" if signed else f"{100 * value:.2f}"
