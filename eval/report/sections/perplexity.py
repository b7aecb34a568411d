"""The part on perplexity without the sets: the paper's Figure 4, and every set on every language."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from polyneuron.eval.report.charts.effects import effect_chart
from polyneuron.eval.report.numbers.chance import OWN_SETS, BesideDraws, beside_all_kinds
from polyneuron.eval.report.numbers.effects import ABOVE, ALPHA, Effects
from polyneuron.eval.report.numbers.specificity import Margin, Specificity, specificity_of
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.variants import ShownVariant
from polyneuron.eval.report.words.wording import (
    DASH,
    count,
    fine_times,
    language_name,
    number,
    plural,
    times,
)
from polyneuron.eval.tables.grid import Cell, Grid, Line, grid, line
from polyneuron.eval.verdicts.verdict import NO_EVIDENCE, NOT_JUDGED
from polyneuron.neuron_core.sets.variant_name import CONTROL_KINDS, CONTROL_NAMES, ControlKind

SETS = {"shared": "shared", "exclusive": "exclusive", "strict_exclusive": "strictly exclusive"}
"""The kinds of sets that are switched off, and what they are called."""
_TONES = {ABOVE: "above", NO_EVIDENCE: "within"}
_HEAT_STEPS = (1.1, 1.5, 3.0, 10.0, 100.0, 1000.0)


def perplexity_part(study: ShownStudy, effects: Effects | None) -> dict[str, Any]:
    """A figure, every set on every language, and every set beside its draws; nothing where no perplexity is stored."""
    if effects is None:
        return {"chart": None}
    languages = tuple(study.languages)
    specific = {kind: specificity_of(study.variants, effects, languages, kind) for kind in OWN_SETS}
    found = {kind: found for kind, found in specific.items() if found is not None}
    beside = {kind: beside_all_kinds(study.variants, effects, languages, kind) for kind in SETS}
    return {
        "chart": effect_chart(study, effects),
        "table": effect_grid(study, effects, found),
        "hits": {SETS[kind]: each for kind, each in found.items()},
        "beside": [draws_grid(SETS[kind], of_kind) for kind, of_kind in beside.items() if of_kind],
        "kinds": [kind for kind in CONTROL_KINDS if any(kind in of_kind for of_kind in beside.values())],
    }


def effect_grid(study: ShownStudy, effects: Effects, specific: Mapping[str, Specificity]) -> Grid:
    """Sets by languages: base perplexities, and each set's multiples. `specific`: by the kind of set."""
    codes = [code for code in study.languages if code in effects.base]
    rows = [base_line(effects, codes, *[""] * bool(specific), "")]
    for kind, name in SETS.items():
        margins = specific[kind].margins if kind in specific else {}
        variants = study.variants.of_kind(kind)
        variants.sort(key=lambda v: codes.index(v.set_language) if v.set_language in codes else len(codes))
        for variant in variants:
            owner = "" if kind == "shared" else f" to {language_name(variant.set_language or '?')}"
            cells = [_cell(effects, variant, code) for code in codes]
            beside = [_margin_cell(margins.get(variant.set_language or ""))] * bool(specific)
            rows.append(line(f"{name}{owner}", *cells, *beside, count(variant.n_neurons), tone="set"))
    heads = ["switched off", *map(language_name, codes), *["own ÷ others"] * bool(specific), "neurons"]
    return grid("Perplexity multipliers of every set on every language", heads, rows, tone="heat")


def draws_grid(name: str, beside: Mapping[ControlKind, BesideDraws]) -> Grid:
    """Languages by kinds of draws: the median without a draw, its range, and how often a draw does as much as the set."""
    heads = ["language", "without the set", *(f"without {CONTROL_NAMES[kind]}" for kind in beside)]
    first = next(iter(beside.values()))
    rows = [
        line(
            language_name(code),
            times(first.times[code]),
            *(_beside_cell(each, code) for each in beside.values()),
        )
        for code in first.times
    ]
    kinds = beside.values()
    together = [Cell(text=DASH if each.p_all is None else f"p = {number(each.p_all, 2)}") for each in kinds]
    rows += [
        line("all languages", "", *together),
        line("single languages", "", *(_judged_cell(each) for each in kinds)),
        line("how they match", "", *(_match_cell(each) for each in kinds)),
    ]
    return grid(
        f"The {name} sets beside draws" if name != "shared" else "The shared set beside draws", heads, rows
    )


def _beside_cell(beside: BesideDraws, language: str) -> Cell:
    if language not in beside.times:
        return Cell(text=DASH)
    draws, p = beside.draws[language], beside.p_values[language]
    spread = f"{times(min(draws))}–{times(max(draws))}, {plural(len(draws), 'draw')}"
    chances = f"p = {number(p, 2)}"
    verdict = beside.verdict(language)
    if verdict == NOT_JUDGED:
        return Cell(text=times(float(np.median(draws))), details=(spread, chances))
    chances += f", Holm {number(beside.p_adjusted[language], 2)}"
    return Cell(
        text=times(float(np.median(draws))), marks=(verdict,), details=(spread, chances), tone=_TONES[verdict]
    )


def _judged_cell(beside: BesideDraws) -> Cell:
    if beside.judges_each:
        return Cell(details=("judged, Holm’s method",))
    reach = f"{plural(beside.n_draws, 'draw gives', 'draws give')} no p below {number(beside.smallest_p, 2)}"
    why = f"{reach}; Holm’s first level is {number(ALPHA / len(beside.times), 2)}"
    return Cell(text=NOT_JUDGED, details=(why,), tone="quiet")


def _match_cell(beside: BesideDraws) -> Cell:
    neurons = f"{count(beside.n_neurons)} of {plural(beside.n_asked, 'neuron')}"
    ratio = () if beside.impact_ratio is None else (f"impact {fine_times(beside.impact_ratio)}",)
    return Cell(details=(neurons, *ratio))


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
