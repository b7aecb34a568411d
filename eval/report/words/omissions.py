"""The honest list, as kinds and values: what was dropped or has no value. `omissions.html.j2` says each with its reason."""

import json
from collections import Counter
from collections.abc import Iterator

import numpy as np

from polyneuron.eval.report.numbers.chance import OWN_SETS
from polyneuron.eval.report.numbers.effects import Effects
from polyneuron.eval.report.numbers.estimates import neighbours
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.variants import ShownVariant, Variants
from polyneuron.eval.report.words.findings import Finding
from polyneuron.neuron_core.sets.variant_name import CONTROL_KINDS, CONTROL_NAMES

_FEW_SENTENCES = 50


def omissions_of(study: ShownStudy, effects: Effects | None) -> list[Finding]:
    """All that is missing, or is there with a reservation."""
    found = [*_texts(study), *_bounded(study), *_empty_sets(study), *_null_metrics(study)]
    found += [
        Finding("neighbour", "note", {"label": n["label"], "reason": n["null_reason"]})
        for n in neighbours(study)
        if n["null_reason"] and n["shared_ratio"] is None
    ]
    found += [Finding("perplexities", "note", {})] if effects is None else _variants(study, effects)
    if study.other_selections:
        found.append(Finding("other_selections", "note", {"names": study.other_selections}))
    return found


def _texts(study: ShownStudy) -> Iterator[Finding]:
    dropped = {}
    for row in study.rows["corpora"]:
        counts = json.loads(row["dropped_json"] or "{}")
        if any(counts.values()):
            dropped[row["language"]] = {reason: n for reason, n in sorted(counts.items()) if n}
    if dropped:
        n_dropped = sum(n for counts in dropped.values() for n in counts.values())
        n_read = sum(row["n_read"] or 0 for row in study.rows["corpora"])
        yield Finding("texts", "note", {"n_dropped": n_dropped, "n_read": n_read, "dropped": dropped})
    if cut := {row["language"]: row["n_cut"] for row in study.rows["corpora"] if row["n_cut"]}:
        yield Finding("cut", "note", {"n_cut": cut})
    if doubts := [doubt for row in study.rows["corpora"] for doubt in json.loads(row["doubts_json"] or "[]")]:
        yield Finding("doubts", "note", {"doubts": doubts})
    if short := [r["language"] for r in study.rows["corpora"] if (r["n_heldout"] or 0) < _FEW_SENTENCES]:
        yield Finding("short_text", "note", {"languages": short, "fewest": _FEW_SENTENCES})


def _bounded(study: ShownStudy) -> Iterator[Finding]:
    bounded: Counter[str] = Counter()
    for row in study.rows["detections"]:
        bounded[row["group"]] += row["n_bounded"] or 0
    if found := {group: n for group, n in bounded.items() if n}:
        yield Finding("bounds", "note", {"bounded": found})
    if isinstance(study.curves, str):
        yield Finding("slider", "note", {"reason": study.curves})


def _empty_sets(study: ShownStudy) -> Iterator[Finding]:
    if study.sets.total("shared") == 0:
        yield Finding("shared_empty", "note", {})
    if empty := [code for code in study.languages if study.sets.total("exclusive", code) == 0]:
        yield Finding("exclusive_empty", "note", {"languages": empty})


def _null_metrics(study: ShownStudy) -> Iterator[Finding]:
    """Metrics without a value, and metrics whose value or interval leaves something out."""
    by_reason: dict[tuple[str, bool, str | None], list[str | None]] = {}
    for row in study.rows["metrics"]:
        if row["value"] is None or row["null_reason"]:
            key = row["metric"], row["value"] is None, row["null_reason"]
            by_reason.setdefault(key, []).append(row["language"])
    for (metric, null, reason), where in by_reason.items():
        yield Finding("metric", "note", {"metric": metric, "null": null, "reason": reason, "where": where})


def _variants(study: ShownStudy, effects: Effects) -> Iterator[Finding]:
    variants = [v for kind in ("shared", *OWN_SETS) for v in study.variants.of_kind(kind)]
    yield from _draws(study.variants, variants)
    for variant in variants:
        if gaps := [code for code in effects.base if effects.of(variant, code) is None]:
            yield Finding("unmeasured", "note", {"variant": variant.name, "languages": gaps})
    unscored = sum(int(np.isnan(nats).sum()) for v in study.variants for _, nats, _ in v.nll.values())
    if unscored:
        yield Finding("unscored", "note", {"n": unscored})
    jumps = [
        (code, effect.times, variant.name)
        for variant in study.variants.of_kind("control")
        for code, effect in effects.by.get(variant.name, {}).items()
        if effect.times > 2
    ]
    if jumps:
        yield Finding("jumps", "note", {"jumps": jumps})


def _draws(variants: Variants, sets: list[ShownVariant]) -> Iterator[Finding]:
    """Sets without draws of a kind, and draws that have fewer neurons than their set."""
    for kind in CONTROL_KINDS:
        asked = [v for v in sets if (kind, v.kind) != ("language_control", "shared")]
        drawn = [(variant, variants.controls_of(variant.name, kind)) for variant in asked]
        if without := [variant.name for variant, draws in drawn if not draws]:
            yield Finding("draws", "note", {"draws": CONTROL_NAMES[kind], "variants": without})
        short = [
            (variant.name, fewest, variant.n_neurons)
            for variant, draws in drawn
            if draws and (fewest := min(draw.n_neurons for draw in draws)) < variant.n_neurons
        ]
        if short:
            yield Finding("draws_short", "note", {"draws": CONTROL_NAMES[kind], "sets": short})
