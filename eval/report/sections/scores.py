"""The part on Eq. 4 to 6: ratio, importance and score, and what neighbouring rules give."""

from collections.abc import Sequence
from typing import Any

from polyneuron.eval.report.charts.effects import importance_chart, sensitivity_chart
from polyneuron.eval.report.numbers.estimates import (
    IMPORTANCE,
    SCORE,
    SHARED_RATIO,
    estimate,
    neighbours,
    sensitivity_band,
)
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.units import Row
from polyneuron.eval.report.words.wording import count, language_name, number
from polyneuron.eval.tables.grid import Column, Grid, grid


def scores_part(study: ShownStudy) -> dict[str, Any]:
    """Facts, the importance per language where it was computed, and the rule among its neighbours."""
    pairs = [(c, [estimate(study, metric, c) for metric in IMPORTANCE.values()]) for c in study.languages]
    rows = [[language_name(c), *(e.words if e else "not computed" for e in pair)] for c, pair in pairs]
    heads = [Column(text=f"from {words}", align="left") for words in ("perplexity", "log perplexity")]
    near = neighbours(study)
    return {
        "stored": bool(study.rows["metrics"]),
        "n_bootstrap": max((row["n_bootstrap"] or 0 for row in study.rows["metrics"]), default=0) or None,
        "ratio": estimate(study, SHARED_RATIO),
        "scores": {kind: estimate(study, metric) for kind, metric in SCORE.items()},
        "band": sensitivity_band(study),
        "chart": importance_chart(pairs) if any(any(pair) for _, pair in pairs) else None,
        "table": grid("Importance per language", ["language", *heads], rows),
        "near_chart": sensitivity_chart(near) if near else None,
        "near": neighbour_grid(near),
    }


def neighbour_grid(near: Sequence[Row]) -> Grid:
    """The study's rule and its neighbours, by threshold."""
    forms = {"sigma": number, "n_shared": count, "n_exclusive": count, "shared_ratio": number}
    forms |= dict.fromkeys(("jaccard_shared", "jaccard_related"), lambda value: number(value, 2))
    rows = [
        [rule["label"], *(form(rule[name]) for name, form in forms.items()), remark(rule["null_reason"])]
        for rule in near
    ]
    heads = ["rule", "setting", "shared", "exclusive", "ratio", "likeness, shared", "likeness, related"]
    return grid("Sets under neighbouring rules", [*heads, Column(text="remark", align="left")], rows)


def remark(reason: str | None) -> str:
    """A reason without its details in brackets and its advice; both are in the list of omissions."""
    return (reason or "").split(" (")[0].split(". ")[0].split("; ")[0]
