"""Perplexity without one language's neurons, measured in every language (paper B, figures 20 to 24), by method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polyneuron.eval.report.charts.effects import draws_name, shade
from polyneuron.eval.report.numbers.effects import Effect, Effects, effect_between, effects_among
from polyneuron.eval.report.numbers.methods import Detector, OtherMethods
from polyneuron.eval.report.numbers.variants import Variant
from polyneuron.eval.report.sections.method_cells import ABOVE, BELOW, WITHIN, MethodCell
from polyneuron.eval.report.words.method_words import method_name
from polyneuron.eval.report.words.wording import count, fine_times, language_name, number

UNJUDGED = "not judged"
MARKS = {
    ABOVE: "▲ above random",
    WITHIN: "○ as random",
    BELOW: "▼ below random",
    UNJUDGED: "not judged",
}
_ROUNDING = 1e-9
"""A variant that equals the other must not differ by the rounding of sums."""


@dataclass(frozen=True)
class ChangeLine:
    name: str
    remark: str
    cells: list[MethodCell]
    css: str = ""


@dataclass(frozen=True)
class ChangeMatrix:
    name: str
    languages: list[str]
    lines: list[ChangeLine]


def change_matrices(others: OtherMethods) -> list[ChangeMatrix]:
    """Of every detector that was measured beside the unchanged model."""
    found = []
    for detector in others.detectors:
        effects = effects_among(detector.variants)
        if effects is None:
            continue
        measured = [code for code in others.languages if code in effects.base]
        base = [MethodCell(number(effects.base[code])) for code in measured]
        lines = [ChangeLine("nothing off: perplexity", "", base, "base")]
        for code in others.languages:
            if detector.sets.size(code) is not None:
                lines += _lines(detector, effects, code, measured)
        names = [language_name(code) for code in measured]
        found.append(ChangeMatrix(method_name(detector.name, others), names, lines))
    return found


def own_set(detector: Detector, language: str) -> Variant | None:
    """The model without a language's neurons; None where it was not measured or the set is empty."""
    return next(
        (v for v in detector.variants if v.kind == "detected" and v.set_language == language),
        None,
    )


def against_random(detector: Detector, variant: Variant, language: str) -> str:
    """Whether a set does more than every one of its random controls on the same sentences.

    Above: for each control the 95% interval of their ratio of perplexities lies above ×1; below: under it.
    """
    found = [effect_between(control, variant, language) for control in controls_of(detector, variant)]
    effects = [effect for effect in found if effect is not None]
    if not effects or min(effect.n_sentences for effect in effects) < 2:
        return UNJUDGED
    if all(effect.low > 1 + _ROUNDING for effect in effects):
        return ABOVE
    return BELOW if all(effect.high < 1 - _ROUNDING for effect in effects) else WITHIN


def controls_of(detector: Detector, variant: Variant) -> list[Variant]:
    return [v for v in detector.variants if v.kind == "control" and v.control_of == variant.name]


def _lines(detector: Detector, effects: Effects, language: str, measured: Sequence[str]) -> list[ChangeLine]:
    name, size = language_name(language), detector.sets.size(language)
    variant = own_set(detector, language)
    if variant is None:
        why = "no neurons to switch off" if not size else "not measured"
        cells = [MethodCell("", details=(why,), own=code == language) for code in measured]
        return [ChangeLine(name, f"{count(size)} neurons", cells)]
    cells = [
        _cell(effects.of(variant.name, code), against_random(detector, variant, code), code == language)
        for code in measured
    ]
    lines = [ChangeLine(name, f"{count(size)} neurons", cells)]
    controls = controls_of(detector, variant)
    if controls:
        draws = [_draws_cell(effects, controls, code) for code in measured]
        lines.append(ChangeLine(draws_name(len(controls)), "", draws, "draws"))
    return lines


def _cell(effect: Effect | None, verdict: str, own: bool) -> MethodCell:
    if effect is None:
        return MethodCell("", details=("not measured",), own=own)
    interval = (
        f"{fine_times(effect.low)} to {fine_times(effect.high)}"
        if effect.n_sentences > 1
        else "one sentence, no interval"
    )
    css = verdict if verdict in (ABOVE, BELOW) else "quiet"
    return MethodCell(fine_times(effect.times), MARKS[verdict], (interval,), shade(effect.times), css, own)


def _draws_cell(effects: Effects, controls: Sequence[Variant], language: str) -> MethodCell:
    """The median of the random controls, and their range where there are several."""
    found = [e.times for v in controls if (e := effects.of(v.name, language)) is not None]
    if not found:
        return MethodCell("", details=("not measured",))
    middle = float(np.median(found))
    ends = f"{fine_times(min(found))} to {fine_times(max(found))}"
    return MethodCell(fine_times(middle), details=(ends,) * (len(found) > 1), shade=shade(middle))
