"""How far other methods agree with impact, and whether their sets matter, as kinds and values."""

from collections import Counter
from typing import Any

import numpy as np

from polyneuron.eval.report.numbers.effects import ABOVE, beside_random, effects_of
from polyneuron.eval.report.numbers.methods import (
    COMPARED,
    DEGENERATE,
    OtherMethods,
    Row,
    ShownDetector,
    chance_ratio,
    overlap_verdict,
)
from polyneuron.eval.report.words.findings import ENOUGH_DRAWS, Finding, extremes, tone_of
from polyneuron.eval.verdicts.verdict import NOT_JUDGED

_ROUNDING = 1e-9


def method_findings(others: OtherMethods | None) -> list[Finding]:
    """Empty when no detector looked at the model."""
    return [] if others is None else [_agreement(others), _perplexity(others)]


def _agreement(others: OtherMethods) -> Finding:
    """Of the impact sets the exclusive ones alone are tallied, being part of the related ones; and the published
    Act-Prob not at all, as agreement with it says next to nothing."""
    names = others.names
    pairs = [pair for pair in others.overlaps if "impact_related" not in pair]
    told = [pair for pair in pairs if DEGENERATE not in pair] or pairs
    compared = {pair: of_pair for pair in told if (of_pair := _compared(others, pair))}
    rows = [row for of_pair in compared.values() for row in of_pair.values()]
    verdicts = Counter(map(overlap_verdict, rows))
    if not rows:
        return Finding("agreement_unjudged", "note", {})
    values = {
        "verdicts": verdicts,
        "jaccard": max(row["jaccard"] for row in rows),
        "pairs": [_pair(names, pair, of_pair) for pair, of_pair in compared.items()],
        "left_out": names[DEGENERATE] if told != pairs else None,
    }
    return Finding("agreement", tone_of(verdicts[ABOVE], len(rows)), values)


def _compared(others: OtherMethods, pair: tuple[str, str]) -> dict[str, Row]:
    """The whole-model rows of the languages in which both methods have neurons, in some layer both."""
    whole = {code: rows[0] for code, rows in others.overlaps[pair].items()}
    return {code: row for code, row in whole.items() if overlap_verdict(row) in COMPARED}


def _pair(names: dict[str, str], pair: tuple[str, str], rows: dict[str, Row]) -> dict[str, Any]:
    """The language with the most agreement, and how all were judged; detectors are named before impacts."""
    code = max(rows, key=lambda code: (chance_ratio(rows[code]) or 0.0, rows[code]["jaccard"]))
    return {
        "names": sorted((names[name] for name in pair), key=lambda name: name.startswith("impact (")),
        "verdicts": Counter(map(overlap_verdict, rows.values())),
        "n": len(rows),
        "language": code,
        "jaccard": rows[code]["jaccard"],
        "ratio": chance_ratio(rows[code]),
    }


def _perplexity(others: OtherMethods) -> Finding:
    """Whether a language loses more than under random neurons when its own are off, and more than other languages."""
    found = {detector.sets.title: _detector(detector, others) for detector in others.detectors}
    verdicts = [verdict for values in found.values() if values for verdict in values["verdicts"].elements()]
    n_draws = [
        len(detector.variants.controls_of(v.name))
        for detector in others.detectors
        for v in detector.variants.of_kind("detected")
    ]
    above = verdicts.count(ABOVE)
    values = {
        "detectors": found,
        "above": above,
        "n": len(verdicts),
        "few_draws": min(n_draws, default=0) if verdicts and min(n_draws, default=0) < ENOUGH_DRAWS else None,
    }
    return Finding("detected_off", tone_of(above, len(verdicts), "note"), values)


def _detector(detector: ShownDetector, others: OtherMethods) -> dict[str, Any] | None:
    """What its sets do to their own language, and to the others on average (geometric); None where not measured."""
    effects = effects_of(detector.variants)
    own: dict[str, float] = {}
    rest: dict[str, float] = {}
    verdicts: Counter[str] = Counter()
    for code in others.languages:
        variant = detector.variants.of_set("detected", code)
        effect = None if effects is None else effects.of(variant, code)
        if variant is None or effect is None or effects is None:
            continue
        own[code] = effect.times
        if (verdict := beside_random(detector.variants, variant, code)) != NOT_JUDGED:
            verdicts[verdict] += 1
        if times := [e.times for other, e in effects.by[variant.name].items() if other != code]:
            rest[code] = float(np.exp(np.mean(np.log(times))))
    if not own:
        return None
    hit = sum(own[code] > mean * (1 + _ROUNDING) for code, mean in rest.items())
    return {**extremes(own), "verdicts": verdicts, "hit": hit, "n_rest": len(rest)}
