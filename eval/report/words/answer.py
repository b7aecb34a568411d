"""The question that a study asks of one model, and its answer in one sentence, as values; `answer.html.j2` says them."""

from collections.abc import Sequence
from typing import Any

from polyneuron.eval.report.numbers.effects import Effects
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.words.findings import Finding

_HARDLY_KNOWN = 300.0
"""From this perplexity of the unchanged model on, what a set is worth in a language says little."""


def answer_of(study: ShownStudy, effects: Effects | None, findings: Sequence[Finding]) -> dict[str, Any]:
    """What stands on the first screen. ``shared`` and ``own``: values of the findings on the sets switched off, where they were;
    ``text``: detection and held-out sentences of the languages, fewest and most; ``n_draws``: draws that stand beside sets."""
    off = {f.values.get("set", f.kind): f.values for f in findings if f.kind in ("shared_off", "own_off")}
    rows = study.rows["corpora"]
    base = effects.base if effects else {}
    return {
        "model": study.model,
        "languages": list(study.languages),
        "n_shared": study.sets.total("shared"),
        "chosen": bool(study.rule.get("target_shared")),
        "shared": off.get("shared_off"),
        "own": off.get("exclusive"),
        "hardly_known": [code for code, ppl in base.items() if ppl >= _HARDLY_KNOWN],
        "own_sizes": [study.sets.total("exclusive", code) for code in study.languages],
        "detect_in": sorted({row["detect_in"] for row in rows}),
        "text": [
            (min(counts), max(counts))
            for name in ("n_detection", "n_heldout")
            if (counts := [row[name] for row in rows if row[name]])
        ],
        "n_draws": len(study.variants.draws()),
    }
