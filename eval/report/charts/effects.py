"""Perplexity after deactivation: the paper's Figure 4, each effect beside the random draws it must beat."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from polyneuron.eval.report.charts.frame import Bands
from polyneuron.eval.report.charts.svg import log_axis
from polyneuron.eval.report.numbers.effects import Effects
from polyneuron.eval.report.numbers.study import ModelStudy
from polyneuron.eval.report.numbers.variants import Variant
from polyneuron.eval.report.words.wording import DASH, count, language_name, number, times
from polyneuron.eval.tables.grid import Cell, Grid, grid, line

_HEAT_STEPS = (1.1, 1.5, 3.0, 10.0, 100.0, 1000.0)


def effect_chart(study: ModelStudy, effects: Effects) -> Markup:
    """Per language, on a log scale: the shared set, its own exclusive set, and their controls."""
    names = [variant.name for variant in study.variants if variant.kind != "tuned"]
    found = [effect for name in names for effect in effects.by.get(name, {}).values()]
    chart = Bands(
        "Perplexity multiplier after switching neurons off, per language, log scale",
        log_axis([v for e in found for v in (e.times, e.low, e.high)], 0.9, 1.2),
        lambda tick: times(tick, tidy=True),
        sizes=(22, 25, 10),
    )
    shared = next(iter(study.of_kind("shared")), None)
    for language in [code for code in study.languages if code in effects.base]:
        own = next((v for v in study.of_kind("exclusive") if v.set_language == language), None)
        drawn = (("diamond", "shared", shared), ("square", "exclusive", own))
        remark = f"perplexity before: {number(effects.base[language])}"
        lanes = chart.band(language_name(language), len(drawn), remark)
        for y, (shape, kind, variant) in zip(lanes, drawn, strict=True):
            effect = None if variant is None else effects.of(variant.name, language)
            if variant is None or effect is None:
                chart.note(y, f"{kind}: not measured")
                continue
            draws = []
            for control in study.controls_of(variant.name):
                if (draw := effects.of(control.name, language)) is not None:
                    draws.append(draw.times)
                    tip = f"random draw, seed {control.seed}: {times(draw.times)}"
                    chart.mark(chart.x.at(draw.times), y, "tick", "control", tip)
            tip = f"{variant.name}: {times(effect.times)} ({times(effect.low)} to {times(effect.high)})"
            ends = effect.low, effect.times, effect.high
            chart.estimate(y, ends, (shape, kind), f"{kind} {times(effect.times)}", tip, beside=draws)
    return chart.render(reference=1)


def heat_grid(study: ModelStudy, effects: Effects) -> Grid:
    """Variants by languages: base perplexities, each set's multipliers, under each its random draws."""
    languages = [language for language in study.languages if language in effects.base]
    base = [Cell(text=number(effects.base[language]), shade=0) for language in languages]
    rows = [line("nothing off: perplexity", *base, "", tone="base")]
    own = {language: i for i, language in enumerate(study.languages)}
    exclusive = sorted(study.of_kind("exclusive"), key=lambda v: own.get(v.set_language or "", len(own)))
    for variant in study.of_kind("shared") + exclusive:
        of_language = variant.set_language if variant.kind == "exclusive" else None
        name = "shared" if variant.kind == "shared" else f"exclusive to {language_name(of_language or '?')}"
        cells = [_cell([variant], effects, code, framed=code == of_language) for code in languages]
        rows.append(line(name, *cells, count(variant.n_neurons), tone="set"))
        if controls := study.controls_of(variant.name):
            cells = [_cell(controls, effects, code) for code in languages]
            rows.append(line(draws_name(len(controls)), *cells, count(variant.n_neurons), tone="draws"))
    columns = ["switched off", *map(language_name, languages), "neurons"]
    return grid("Perplexity multipliers of every set on every language", columns, rows, tone="heat")


def draws_name(n: int) -> str:
    """What the row of ``n`` random draws is called."""
    return "1 random draw" if n == 1 else f"{n} random draws, median"


def shade(multiplier: float) -> int:
    """0 (about as before) to 6 (a thousand times worse)."""
    return int(np.searchsorted(_HEAT_STEPS, multiplier, side="right"))


def _cell(variants: list[Variant], effects: Effects, language: str, *, framed: bool = False) -> Cell:
    """The median multiplier, and of several their range under it."""
    found = [e.times for v in variants if (e := effects.of(v.name, language)) is not None]
    if not found:
        return Cell(text=DASH, shade=0, framed=framed)
    middle = float(np.median(found))
    details = (f"{times(min(found))}–{times(max(found))}",) if len(found) > 1 else ()
    return Cell(text=times(middle), details=details, shade=shade(middle), framed=framed)
