"""The part on perplexity without the sets: the paper's Figure 4, and every set on every language."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from polyneuron.eval.report.charts.effects import effect_chart
from polyneuron.eval.report.numbers.effects import Effects
from polyneuron.eval.report.numbers.specificity import Margin, specificity_of
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.variants import ShownVariant
from polyneuron.eval.report.words.wording import DASH, count, language_name, number, times
from polyneuron.eval.tables.grid import Cell, Grid, Line, grid, line

_HEAT_STEPS = (1.1, 1.5, 3.0, 10.0, 100.0, 1000.0)


def perplexity_part(study: ShownStudy, effects: Effects | None) -> dict[str, Any]:
    """A figure and a table; neither where no perplexity is stored."""
    if effects is None:
        return {"chart": None}
    return {"chart": effect_chart(study, effects), "table": effect_grid(study, effects)}


def effect_grid(study: ShownStudy, effects: Effects) -> Grid:
    """Variants by languages: base perplexities, each set's multipliers, under each its random draws."""
    codes = [code for code in study.languages if code in effects.base]
    specificity = specificity_of(study.variants, effects, tuple(study.languages), "exclusive")
    margins = {} if specificity is None else specificity.margins
    rows = [base_line(effects, codes, *[""] * bool(margins), "")]
    own = {code: i for i, code in enumerate(study.languages)}
    exclusive = study.variants.of_kind("exclusive")
    exclusive.sort(key=lambda v: own.get(v.set_language or "", len(own)))
    for variant in study.variants.of_kind("shared") + exclusive:
        owner = language_name(variant.set_language or "?")
        name = "shared" if variant.kind == "shared" else f"exclusive to {owner}"
        cells = [_cell(effects, variant, code) for code in codes]
        beside = [_margin_cell(margins.get(variant.set_language or ""))] * bool(margins)
        rows.append(line(name, *cells, *beside, count(variant.n_neurons), tone="set"))
        if controls := study.variants.controls_of(variant.name):
            blank = Cell(text=DASH, shade=0)
            drawn = [draws_cell(effects, controls, code, times, "–") or blank for code in codes]
            beside = [Cell(text=DASH)] * bool(margins)
            size = count(variant.n_neurons)
            rows.append(line(draws_name(len(controls)), *drawn, *beside, size, tone="draws"))
    heads = ["switched off", *map(language_name, codes), *["own ÷ others"] * bool(margins), "neurons"]
    return grid("Perplexity multipliers of every set on every language", heads, rows, tone="heat")


def base_line(effects: Effects, codes: Sequence[str], *more: str) -> Line:
    """The perplexities of the unchanged model, over their multiples."""
    cells = [Cell(text=number(effects.base[code]), shade=0) for code in codes]
    return line("nothing off: perplexity", *cells, *more, tone="base")


def draws_cell(
    effects: Effects, controls: list[ShownVariant], language: str, form: Callable[[float], str], to: str
) -> Cell | None:
    """The median of the random draws, and their range where there are several; None where none was measured."""
    found = effects.times(controls, language)
    if not found:
        return None
    middle = float(np.median(found))
    details = (f"{form(min(found))}{to}{form(max(found))}",) if len(found) > 1 else ()
    return Cell(text=form(middle), details=details, shade=shade(middle))


def draws_name(n: int) -> str:
    """What a row of random draws is called."""
    return "1 random draw" if n == 1 else f"{n} random draws, median"


def shade(multiplier: float) -> int:
    """0 (about as before) to 6 (a thousand times worse)."""
    return int(np.searchsorted(_HEAT_STEPS, multiplier, side="right"))


def _margin_cell(margin: Margin | None) -> Cell:
    if margin is None:
        return Cell(text=DASH)
    return Cell(text=times(margin.times), details=(f"{times(margin.low)}–{times(margin.high)}",))


def _cell(effects: Effects, variant: ShownVariant, language: str) -> Cell:
    effect, own = effects.of(variant, language), variant.set_language == language
    if effect is None:
        return Cell(text=DASH, shade=0, framed=own)
    return Cell(text=times(effect.times), shade=shade(effect.times), framed=own)
