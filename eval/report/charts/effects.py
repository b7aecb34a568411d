"""Perplexity after deactivation: the paper's Figure 4, each effect beside the random draws it must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from polyneuron.eval.report.charts.svg import Axis, Drawing, side_label, x_ticks
from polyneuron.eval.report.numbers.effects import Effect, Effects
from polyneuron.eval.report.numbers.study import ModelStudy
from polyneuron.eval.report.numbers.variants import Variant
from polyneuron.eval.report.words.wording import language_name, number, times

_LANE, _HEAD = 25, 22
_HEAT_STEPS = (1.1, 1.5, 3.0, 10.0, 100.0, 1000.0)


@dataclass(frozen=True)
class Cell:
    """One cell of the heat table: what it says, the small print under it, and its shade 0–6."""

    text: str
    detail: str
    shade: int


@dataclass(frozen=True)
class HeatRow:
    name: str
    css: str
    n_neurons: int | None
    cells: list[Cell]


def effect_chart(study: ModelStudy, effects: Effects) -> Markup:
    """Per language, on a log scale: the shared set, its own exclusive set, and their controls."""
    languages = [language for language in study.languages if language in effects.base]
    values = [1.0]
    for drawn in study.variants:
        found = effects.by.get(drawn.name, {}).values() if drawn.kind != "tuned" else ()
        values += [v for e in found for v in (e.times, e.low, e.high) if 0 < v < np.inf]
    axis = Axis(min([0.9, *values]), max([1.2, *values]), log=True)
    row = _HEAD + 2 * _LANE + 10
    bottom = row * len(languages)
    drawing = Drawing(
        bottom + 24, "Perplexity multiplier after switching neurons off, per language, log scale"
    )
    x_ticks(drawing, axis, [(t, times(t, tidy=True)) for t in axis.ticks(5)], bottom)
    drawing.line(axis.at(1), 0, axis.at(1), bottom, "reference")
    for i, language in enumerate(languages):
        y = i * row
        drawing.line(0, y, 100, y, "rule")
        drawing.text(0, y + 15, language_name(language), "label halo")
        drawing.text(100, y + 15, f"perplexity before: {number(effects.base[language])}", "tick halo", "end")
        shared = next(iter(study.of_kind("shared")), None)
        own = next((v for v in study.of_kind("exclusive") if v.set_language == language), None)
        for lane, (variant, shape, css, name) in enumerate(
            ((shared, "diamond", "shared", "shared"), (own, "square", "exclusive", "exclusive"))
        ):
            _lane(
                drawing,
                axis,
                y + _HEAD + lane * _LANE + 10,
                study,
                effects,
                language,
                variant,
                shape,
                css,
                name,
            )
    return drawing.render()


def _lane(
    drawing: Drawing,
    axis: Axis,
    y: float,
    study: ModelStudy,
    effects: Effects,
    language: str,
    variant: Variant | None,
    shape: str,
    css: str,
    name: str,
) -> None:
    effect = None if variant is None else effects.of(variant.name, language)
    if variant is None or effect is None:
        drawing.text(0, y + 4, f"{name}: not measured", "tick halo")
        return
    left, right = axis.at(min(effect.low, effect.times)), axis.at(max(effect.high, effect.times))
    near = right + 30
    for control in study.controls_of(variant.name):
        draw = effects.of(control.name, language)
        if draw is not None:
            at = axis.at(draw.times)
            right = (
                max(right, at) if at < near else right
            )  # the name stands clear of the draws beside the mark
            drawing.mark(at, y, "tick", "control", f"random draw, seed {control.seed}: {times(draw.times)}")
    drawing.line(axis.at(effect.low), y, axis.at(effect.high), y, "interval")
    tip = f"{variant.name}: {times(effect.times)} ({times(effect.low)} to {times(effect.high)})"
    drawing.mark(axis.at(effect.times), y, shape, css, tip)
    side_label(drawing, left, right, y + 4, f"{name} {times(effect.times)}")


def heat_rows(study: ModelStudy, effects: Effects) -> list[HeatRow]:
    """Variants by languages: base perplexities, each set's multipliers, under each its random draws."""
    languages = [language for language in study.languages if language in effects.base]
    base = [Cell(number(effects.base[language]), "", 0) for language in languages]
    rows = [HeatRow("nothing off: perplexity", "base", None, base)]
    own = {language: i for i, language in enumerate(study.languages)}
    sets = study.of_kind("shared") + sorted(
        study.of_kind("exclusive"), key=lambda v: own.get(v.set_language or "", len(own))
    )
    for variant in sets:
        cells = [_cell(effects.of(variant.name, language)) for language in languages]
        rows.append(HeatRow(_variant_name(variant), "set", variant.n_neurons, cells))
        controls = study.controls_of(variant.name)
        if controls:
            pooled = [_pooled(effects, controls, language) for language in languages]
            rows.append(HeatRow(draws_name(len(controls)), "draws", variant.n_neurons, pooled))
    return rows


def draws_name(n: int) -> str:
    return "1 random draw" if n == 1 else f"{n} random draws, median"


def _variant_name(variant: Variant) -> str:
    if variant.kind == "shared":
        return "shared"
    return f"exclusive to {language_name(variant.set_language or '?')}"


def _cell(effect: Effect | None) -> Cell:
    return Cell("–", "", 0) if effect is None else Cell(times(effect.times), "", shade(effect.times))


def _pooled(effects: Effects, controls: list[Variant], language: str) -> Cell:
    found = [e.times for v in controls if (e := effects.of(v.name, language)) is not None]
    if not found:
        return _cell(None)
    middle = float(np.median(found))
    if len(found) == 1:
        return Cell(times(middle), "", shade(middle))
    return Cell(times(middle), f"{times(min(found))}–{times(max(found))}", shade(middle))


def shade(multiplier: float) -> int:
    """0 (about as before) to 6 (a thousand times worse)."""
    return int(np.searchsorted(_HEAT_STEPS, multiplier, side="right"))
