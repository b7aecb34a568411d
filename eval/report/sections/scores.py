"""The part on Eq. 4 to 6: ratio, importance and score, and what neighbouring rules give."""

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


def scores_part(study: ShownStudy) -> dict[str, Any]:
    """Facts, the importance per language where it was computed, and the rule among its neighbours."""
    pairs = [(c, [estimate(study, metric, c) for metric in IMPORTANCE.values()]) for c in study.languages]
    near = neighbours(study)
    return {
        "stored": bool(study.rows["metrics"]),
        "n_bootstrap": max((row["n_bootstrap"] or 0 for row in study.rows["metrics"]), default=0) or None,
        "ratio": estimate(study, SHARED_RATIO),
        "scores": {kind: estimate(study, metric) for kind, metric in SCORE.items()},
        "band": sensitivity_band(study),
        "chart": importance_chart(pairs) if any(any(pair) for _, pair in pairs) else None,
        "near_chart": sensitivity_chart(near) if near else None,
    }
