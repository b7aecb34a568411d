"""The honest list, as kinds and values: what was dropped or has no value. `omissions.html.j2` says each with its reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyneuron.eval.report.numbers.effects import Effects
from polyneuron.eval.report.numbers.estimates import neighbours
from polyneuron.eval.report.numbers.study import ShownStudy

_FEW_SENTENCES = 50


@dataclass(frozen=True, slots=True)
class Omission:
    """One thing that is not there. ``kind``: the macro of `omissions.html.j2` that says it and why."""

    kind: str
    values: Mapping[str, Any]


def omissions_of(study: ShownStudy, effects: Effects | None) -> list[Omission]:
    """All that is missing, or is there with a reservation."""
    makers = (_texts, _bounded, _empty_sets, _null_metrics)
    found = [omission for make in makers for omission in make(study)]
    found += [
        Omission("neighbour", {"label": n["label"], "reason": n["null_reason"]})
        for n in neighbours(study)
        if n["null_reason"] and n["shared_ratio"] is None
    ]
    found += [Omission("perplexities", {})] if effects is None else _variants(study, effects)
    if study.other_selections:
        found.append(Omission("other_selections", {"names": study.other_selections}))
    return found


def _texts(study: ShownStudy) -> Iterator[Omission]:
    dropped = {}
    for row in study.rows["corpora"]:
        counts = json.loads(row["dropped_json"] or "{}")
        if any(counts.values()):
            dropped[row["language"]] = {reason: n for reason, n in sorted(counts.items()) if n}
    if dropped:
        n_dropped = sum(n for counts in dropped.values() for n in counts.values())
        n_read = sum(row["n_read"] or 0 for row in study.rows["corpora"])
        yield Omission("texts", {"n_dropped": n_dropped, "n_read": n_read, "dropped": dropped})
    if short := [r["language"] for r in study.rows["corpora"] if (r["n_heldout"] or 0) < _FEW_SENTENCES]:
        yield Omission("short_text", {"languages": short, "fewest": _FEW_SENTENCES})


def _bounded(study: ShownStudy) -> Iterator[Omission]:
    bounded: Counter[str] = Counter()
    for row in study.rows["detections"]:
        bounded[row["group"]] += row["n_bounded"] or 0
    if found := {group: n for group, n in bounded.items() if n}:
        yield Omission("bounds", {"bounded": found})
    if study.curves is None:
        yield Omission("slider", {"reason": study.curves_missing})


def _empty_sets(study: ShownStudy) -> Iterator[Omission]:
    if study.sets.total("shared") == 0:
        yield Omission("shared_empty", {})
    if empty := [code for code in study.languages if study.sets.total("exclusive", code) == 0]:
        yield Omission("exclusive_empty", {"languages": empty})


def _null_metrics(study: ShownStudy) -> Iterator[Omission]:
    """Metrics without a value, and metrics whose value or interval leaves something out."""
    by_reason: dict[tuple[str, bool, str | None], list[str | None]] = {}
    for row in study.rows["metrics"]:
        if row["value"] is None or row["null_reason"]:
            key = row["metric"], row["value"] is None, row["null_reason"]
            by_reason.setdefault(key, []).append(row["language"])
    for (metric, null, reason), where in by_reason.items():
        yield Omission("metric", {"metric": metric, "null": null, "reason": reason, "where": where})


def _variants(study: ShownStudy, effects: Effects) -> Iterator[Omission]:
    for variant in study.variants.of_kind("shared") + study.variants.of_kind("exclusive"):
        if not study.variants.controls_of(variant.name):
            yield Omission("draws", {"variant": variant.name})
        if gaps := [code for code in effects.base if effects.of(variant, code) is None]:
            yield Omission("unmeasured", {"variant": variant.name, "languages": gaps})
    unscored = sum(int(np.isnan(nats).sum()) for v in study.variants for _, nats, _ in v.nll.values())
    if unscored:
        yield Omission("unscored", {"n": unscored})
    jumps = [
        (code, effect.times, variant.name)
        for variant in study.variants.of_kind("control")
        for code, effect in effects.by.get(variant.name, {}).items()
        if effect.times > 2
    ]
    if jumps:
        yield Omission("jumps", {"jumps": jumps})
