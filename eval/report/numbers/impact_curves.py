"""From the impacts table to threshold curves: which column a rule compares, and the proof that it does.

The curves are shown only if, at the study's own threshold, they count as many neurons as the stored sets
hold.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyneuron.eval.report.numbers.thresholds import Curves, set_size_curves
from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.neuron_core.model.groups import GROUPS

Row = dict[str, Any]


def read_curves(
    impacts: pa.Table,
    detections: list[Row],
    rule: Row,
    thresholds: dict[str, float],
    languages: tuple[str, ...],
    sets: pa.Table,
) -> tuple[Curves | None, str | None]:
    """The curves, or None and the reason in words."""
    if impacts.num_rows == 0:
        return None, "the store holds no impacts for this model"
    groups = tuple(g for g in GROUPS if g in set(pc.unique(impacts["group"]).to_pylist()))
    per_detection = {(r["language"], r["group"]): r for r in detections}
    scores: dict[str, NDArray[np.float64]] = {}
    bars: dict[str, NDArray[np.float64]] = {}
    floors: dict[str, NDArray[np.float64]] = {}
    for group in groups:
        of_group = impacts.filter(pc.equal(impacts["group"], group))
        columns = [
            _scores(of_group, language, rule, per_detection.get((language, group))) for language in languages
        ]
        if any(len(c) != len(columns[0]) or len(c) == 0 for c in columns):
            return None, f"the languages do not have the same neurons measured in group {group}"
        scores[group] = np.stack(columns)
        bars[group] = _bars(scores[group], group, rule, thresholds)
        floors[group] = np.array([_floor(per_detection.get((lang, group)), rule) for lang in languages])
    try:
        curves = set_size_curves(languages, scores, bars, floors)
    except StoreError as error:
        return None, error.message
    if not _reproduces(curves, sets):
        return None, "the stored impacts do not give the stored sets back at the stored thresholds"
    return curves, None


def _scores(of_group: pa.Table, language: str, rule: Row, detection: Row | None) -> NDArray[np.float64]:
    """What the rule compares, [N], larger meaning more related; NaN where the store cannot say."""
    rows = of_group.filter(pc.equal(of_group["language"], language)).sort_by(
        [("layer", "ascending"), ("neuron", "ascending")]
    )
    if "ratio" in rule:
        with np.errstate(divide="ignore"):
            return 1 / _floats(rows["rank_worst"])
    share = float(rule.get("share", 1.0))
    if share < 1.0 and detection is not None:
        n = detection["n_sentences"]
        return _nth_smallest(rows["impact_smallest"], n - math.ceil(share * n - 1e-9))
    return _floats(rows["impact_rms_min" if rule.get("per_token", True) else "impact_min"])


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(column.cast(pa.float64()).fill_null(float("nan")), np.float64)


def _nth_smallest(column: pa.ChunkedArray, n: int) -> NDArray[np.float64]:
    return np.array(
        [v[n] if v is not None and len(v) > n else np.nan for v in column.to_pylist()], np.float64
    )


def _bars(
    scores_LN: NDArray[np.float64], group: str, rule: Row, thresholds: dict[str, float]
) -> NDArray[np.float64]:
    """The study's threshold of a group for each language, in the unit of ``_scores``."""
    n_languages, n = scores_LN.shape
    if "ratio" in rule:
        return np.full(n_languages, 1 / float(np.float32(rule["ratio"])))  # ranks are stored as float32
    if "fraction" in rule:
        wanted = max(1, round(float(rule["fraction"]) * n))
        return np.sort(np.nan_to_num(scores_LN, nan=-np.inf), axis=1)[:, n - wanted]
    return np.full(n_languages, thresholds.get(group, np.nan))


def _floor(detection: Row | None, rule: Row) -> float:
    if detection is None or not detection["n_bounded"]:
        return float("nan")
    value = detection["floor_rms" if rule.get("per_token", True) else "floor_raw"]
    return float("nan") if value is None else float(value)


def _reproduces(curves: Curves, sets: pa.Table) -> bool:
    related = sets.filter(pc.equal(sets["kind"], "related"))
    stored = Counter(zip(related["group"].to_pylist(), related["language"].to_pylist(), strict=True))
    at = curves.study_index
    return all(
        int(curves.related[g, i, at]) == stored.get((group, language), 0)
        for g, group in enumerate(curves.groups)
        for i, language in enumerate(curves.languages)
    )
