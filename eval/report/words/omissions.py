"""The honest list: what was dropped, has no value, or is not certified, each with its reason."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from polyneuron.eval.report.numbers.effects import Effects
from polyneuron.eval.report.numbers.estimates import METRIC_NAMES, neighbours
from polyneuron.eval.report.numbers.study import ModelStudy
from polyneuron.eval.report.words.wording import count, language_name, listing, plural, times

_FEW_SENTENCES = 50


@dataclass(frozen=True)
class Omission:
    what: str
    why: str


def omissions_of(study: ModelStudy, effects: Effects | None) -> list[Omission]:
    return [
        *_dropped_sentences(study),
        *_bounded(study),
        *_empty_sets(study),
        *_null_metrics(study),
        *_null_neighbours(study),
        *_variants(study, effects),
        *_left_out(study),
    ]


def _dropped_sentences(study: ModelStudy) -> list[Omission]:
    found = []
    parts, n_dropped, n_read = [], 0, 0
    for row in study.corpora:
        dropped = {reason: n for reason, n in json.loads(row["dropped_json"] or "{}").items() if n}
        n_read += row["n_read"] or 0
        if dropped:
            n_dropped += sum(dropped.values())
            reasons = listing(
                [f"{count(n)} {reason.replace('_', ' ')}" for reason, n in sorted(dropped.items())]
            )
            parts.append(f"{language_name(row['language'])}: {reasons}")
    if parts:
        found.append(
            Omission(f"{count(n_dropped)} of {count(n_read)} texts read were not used", "; ".join(parts))
        )
    small = [language_name(r["language"]) for r in study.corpora if (r["n_heldout"] or 0) < _FEW_SENTENCES]
    if small:
        why = f"Fewer than {_FEW_SENTENCES} sentences: perplexities are rough and their intervals wide"
        found.append(Omission(f"Held-out text is short in {listing(small)}", why))
    return found


def _bounded(study: ModelStudy) -> list[Omission]:
    bounded: dict[str, int] = {}
    for row in study.detections:
        if row["n_bounded"]:
            bounded[row["group"]] = bounded.get(row["group"], 0) + row["n_bounded"]
    found = []
    if bounded:
        parts = listing([f"{count(n)} in {group}" for group, n in bounded.items()])
        verdict = (
            "The selection is certified: none of them can pass the threshold, so the sets are exactly "
            "those of a full measurement"
        )
        found.append(Omission(f"Only an upper bound is known for {parts} (summed over languages)", verdict))
    if study.curves is None:
        found.append(Omission("The threshold slider is left out", study.curves_missing or "no reason known"))
    return found


def _empty_sets(study: ModelStudy) -> list[Omission]:
    why = "Nothing passed the rule; metrics that divide by it have no value"
    found = []
    if study.sets.total("shared") == 0:
        found.append(Omission("The shared set is empty", why))
    empty = [language_name(lang) for lang in study.languages if study.sets.total("exclusive", lang) == 0]
    if empty:
        found.append(Omission(f"The exclusive set is empty for {listing(empty)}", why))
    return found


def _null_metrics(study: ModelStudy) -> list[Omission]:
    """Metrics without a value, and metrics whose value or interval leaves something out."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for row in study.metrics:
        if row["value"] is not None and not row["null_reason"]:
            continue
        where = language_name(row["language"]) if row["language"] else "the model"
        metric = METRIC_NAMES.get(row["metric"]) or str(row["metric"])
        what = f"No {metric}" if row["value"] is None else f"A reservation about the {metric}"
        by_reason.setdefault((what, row["null_reason"] or "no reason stored"), []).append(where)
    return [Omission(f"{what} for {listing(where)}", reason) for (what, reason), where in by_reason.items()]


def _null_neighbours(study: ModelStudy) -> list[Omission]:
    return [
        Omission(f"No sets under the neighbouring rule {n.label}", n.null_reason)
        for n in neighbours(study)
        if n.null_reason and n.shared_ratio is None
    ]


def _variants(study: ModelStudy, effects: Effects | None) -> list[Omission]:
    if effects is None:
        return [Omission("No perplexities", "The ablation stage has not run on this selection")]
    found = []
    for variant in study.of_kind("shared") + study.of_kind("exclusive"):
        if not study.controls_of(variant.name):
            found.append(
                Omission(f"No random draws for {variant.name}", "Its effect cannot be told from chance")
            )
        gaps = [language_name(lang) for lang in effects.base if effects.of(variant.name, lang) is None]
        if gaps:
            found.append(
                Omission(f"{variant.name} was not measured in {listing(gaps)}", "No rows in the store")
            )
    unscored = sum(int(np.isnan(nats).sum()) for v in study.variants for _, nats, _ in v.nll.values())
    if unscored:
        found.append(
            Omission(
                f"{plural(unscored, 'loss', 'losses')} of a sentence under a variant could not be computed",
                "The loss was not a number; the sentence is left out of that variant’s comparison",
            )
        )
    jumps = [
        f"{language_name(lang)} {times(effect.times)} ({variant.name})"
        for variant in study.of_kind("control")
        for lang, effect in effects.by.get(variant.name, {}).items()
        if effect.times > 2
    ]
    if jumps:
        why = (
            "A random draw can hit a critical neuron: medians and ranges are shown, and no draw was left out"
        )
        shown = listing(jumps[:6]) + (f" and {len(jumps) - 6} more" if len(jumps) > 6 else "")
        found.append(Omission(f"Some random draws more than doubled perplexity: {shown}", why))
    return found


def _left_out(study: ModelStudy) -> list[Omission]:
    found = []
    if study.other_selections:
        names = ", ".join(study.other_selections)
        found.append(Omission(f"Other selections in the store are not shown: {names}", "The newest is shown"))
    for table, n in study.superseded.items():
        what = f"{plural(n, 'older unit')} of table {table} not shown"
        found.append(Omission(what, "The same measurement exists from a newer run"))
    return found
