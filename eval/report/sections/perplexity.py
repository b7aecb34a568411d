"""The part on perplexity without the sets: the paper's Figure 4, and every set on every language."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from polyneuron.eval.report.charts.answer import LOOKS, answer_charts
from polyneuron.eval.report.numbers.chance import OWN_SETS, BesideDraws, beside_all_kinds
from polyneuron.eval.report.numbers.effects import ABOVE, Effects
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
from polyneuron.neuron_core.sets.variant_name import CONTROL_NAMES, ControlKind

SETS = {"shared": "shared", "exclusive": "exclusive", "strict_exclusive": "strictly exclusive"}
"""The kinds of sets that are switched off, and what they are called."""
_NAMES = {"shared": "shared set", "exclusive": "own exclusive set", "strict_exclusive": "own strict set"}
_DRAWN: dict[ControlKind, str] = {"control": "control", "impact_control": "like-impact"}
"""The class of each kind of draws in the figure on the first screen."""
_TONES = {ABOVE: "above", NO_EVIDENCE: "within"}
_HEAT_STEPS = (1.1, 1.5, 3.0, 10.0, 100.0, 1000.0)


def perplexity_part(study: ShownStudy, effects: Effects | None) -> dict[str, Any]:
    """Every set on every language, and every set beside its draws; nothing where no perplexity is stored."""
    if effects is None:
        return {"table": None}
    languages = tuple(study.languages)
    specific = {kind: specificity_of(study.variants, effects, languages, kind) for kind in OWN_SETS}
    found = {kind: found for kind, found in specific.items() if found is not None}
    beside = {kind: beside_all_kinds(study.variants, effects, languages, kind) for kind in SETS}
    return {
        "table": effect_grid(study, effects, found),
        "beside": [draws_grid(SETS[kind], of_kind) for kind, of_kind in beside.items() if of_kind],
        "few": any(not each.judges_each for of_kind in beside.values() for each in of_kind.values()),
    }


def answer_figure(study: ShownStudy, effects: Effects | None) -> list[dict[str, Any]]:
    """The figure on the first screen: for each kind of set that was measured its name, chart, and p-values beside draws."""
    if effects is None:
        return []
    found = []
    for kind, chart in answer_charts(study, effects).items():
        draws = beside_all_kinds(study.variants, effects, list(study.languages), kind)
        beside = [(CONTROL_NAMES[k], d.n_won, len(d.times), d.p_all) for k, d in draws.items()]
        found.append({"name": _NAMES[kind], "chart": chart, "beside": beside})
    return found


def answer_legend(study: ShownStudy, effects: Effects | None) -> list[tuple[str, str, str]]:
    """Class, shape and words of what the figure on the first screen shows."""
    if effects is None:
        return []
    kinds = answer_charts(study, effects)
    sets = [(LOOKS[kind][1], LOOKS[kind][0], _NAMES[kind]) for kind in kinds]
    drawn = [(_DRAWN[kind], "tick", CONTROL_NAMES[kind]) for kind in _DRAWN if study.variants.of_kind(kind)]
    return sets + drawn


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
    heads = ["language", "the set", *(f"{CONTROL_NAMES[kind]}, {d.n_draws}" for kind, d in beside.items())]
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
        line("impact, draws ÷ set", "", *(_match_cell(each) for each in kinds)),
    ]
    return grid(
        f"The {name} sets beside draws" if name != "shared" else "The shared set beside draws", heads, rows
    )


def _beside_cell(beside: BesideDraws, language: str) -> Cell:
    if language not in beside.times:
        return Cell(text=DASH)
    draws, p = beside.draws[language], beside.p_values[language]
    spread = f"{times(min(draws))}–{times(max(draws))}"
    verdict = beside.verdict(language)
    if verdict == NOT_JUDGED:
        return Cell(text=times(float(np.median(draws))), details=(spread,))
    chances = f"p = {number(p, 2)}, Holm {number(beside.p_adjusted[language], 2)}"
    return Cell(
        text=times(float(np.median(draws))), marks=(verdict,), details=(spread, chances), tone=_TONES[verdict]
    )


def _match_cell(beside: BesideDraws) -> Cell:
    fewer = beside.n_neurons < beside.n_asked
    neurons = (f"{count(beside.n_neurons)} of {plural(beside.n_asked, 'neuron')}",) if fewer else ()
    return Cell(
        text=DASH if beside.impact_ratio is None else fine_times(beside.impact_ratio), details=neurons
    )


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
