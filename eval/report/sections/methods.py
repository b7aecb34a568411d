"""The part on methods other than impact: counts, agreement, layer profiles, perplexity changes."""

import json
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from polyneuron.eval.report.charts.methods import agreement_chart, count_chart, profile_chart, size_words
from polyneuron.eval.report.numbers.effects import ABOVE, BELOW, Effect, Effects, beside_random, effects_of
from polyneuron.eval.report.numbers.methods import (
    APART,
    COMPARED,
    DEGENERATE,
    EMPTY,
    MethodSets,
    OtherMethods,
    ShownDetector,
    chance_ratio,
    overlap_verdict,
)
from polyneuron.eval.report.numbers.units import Row
from polyneuron.eval.report.sections.perplexity import base_line, draws_cell, draws_name, shade
from polyneuron.eval.report.words.wording import (
    DASH,
    count,
    fine_times,
    language_name,
    number,
    percent,
    span,
    times,
)
from polyneuron.eval.tables.grid import Cell, Grid, Line, grid, line
from polyneuron.eval.verdicts.verdict import NOT_JUDGED

_MARKS = "▲ above {}", "○ as {}", "▼ below {}"
_CHANCE = {name: mark.format("chance") for name, mark in zip(COMPARED, _MARKS, strict=True)}
_CHANCE |= {EMPTY: "an empty set", APART: "no common layer"}
_RANDOM = {name: mark.format("random") for name, mark in zip(COMPARED, _MARKS, strict=True)}
_RANDOM |= {NOT_JUDGED: NOT_JUDGED}
_JACCARD_STEPS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5)
_CSS = "heat scores methods"


def methods_part(others: OtherMethods) -> dict[str, Any]:
    """All that is shown of other methods."""
    methods = {sets.title: sets for sets in others.methods}
    asked = {title: [code for code in others.languages if code in s.members] for title, s in methods.items()}
    return {
        "detectors": [(detector.sets.title, detector, _least(detector)) for detector in others.detectors],
        "n_neurons": others.n_neurons,
        "degenerate": others.names.get(DEGENERATE),
        "counts": {t: count_chart(s, others.languages, others.n_neurons) for t, s in methods.items()},
        "sizes": size_grid(others),
        "overlaps": overlap_grid(others) if others.overlaps else None,
        "agreement": _agreement(others, degenerate=False),
        "agreement_degenerate": _agreement(others, degenerate=True),
        "between_languages": {
            title: language_grid(sets, asked[title], others.n_neurons)
            for title, sets in methods.items()
            if sets.name != "impact_related" and asked[title]
        },
        "profiles": {title: profile_chart(sets, asked[title]) for title, sets in methods.items()},
        "profile_tables": {title: profile_grid(sets, asked[title]) for title, sets in methods.items()},
        "changes": change_grids(others),
    }


def size_grid(others: OtherMethods) -> Grid:
    """Neurons per language and method."""
    rows = [
        [language_name(code), *(size_words(sets.size(code), others.n_neurons) for sets in others.methods)]
        for code in others.languages
    ]
    heads = ["language", *(others.names[sets.name] for sets in others.methods)]
    return grid("Neurons per language and method", heads, rows, tone="heat methods")


def overlap_grid(others: OtherMethods) -> Grid:
    """A line for every pair of methods, a cell for every language."""
    rows = [
        [
            Cell(text=others.names[a], details=(f"and {others.names[b]}",)),
            *(_overlap_cell(rows.get(code)) for code in others.languages),
        ]
        for (a, b), rows in others.overlaps.items()
    ]
    heads = ["methods", *map(language_name, others.languages)]
    return grid("Jaccard similarity of two methods, by language", heads, rows, tone=_CSS)


def language_grid(sets: MethodSets, codes: Sequence[str], n_neurons: int) -> Grid:
    """One method's sets of every two languages."""

    def cell(a: str, b: str) -> Cell:
        if a == b:
            return Cell(text=DASH, details=(count(sets.size(a)),), shade=0)
        common, either = sets.common(a, b)
        if not either:
            return Cell(text=DASH, details=("both empty",), shade=0)
        expected = float(sets.by_layer(a) @ sets.by_layer(b)) * sets.n_layers / n_neurons
        details = f"{count(common)} common", f"chance {number(expected, 2)}"
        jaccard = common / either
        return Cell(text=_jaccard(jaccard), details=details, shade=_jaccard_shade(jaccard))

    rows = [line(language_name(a), *(cell(a, b) for b in codes)) for a in codes]
    title = f"{sets.title}: Jaccard similarity of the languages' sets"
    return grid(title, ["language", *map(language_name, codes)], rows, tone=_CSS)


def profile_grid(sets: MethodSets, codes: Sequence[str]) -> Grid:
    """Neurons of a method by layer and language."""
    lanes = [sets.by_layer(code) for code in codes]
    rows = [[str(layer), *(count(lane[layer]) for lane in lanes)] for layer in range(sets.n_layers)]
    return grid(f"{sets.title}: neurons per layer", ["layer", *map(language_name, codes)], rows)


def change_grids(others: OtherMethods) -> dict[str, Grid]:
    """Perplexity without one language's neurons, measured in every language, of every detector that was measured."""
    found = {}
    for detector in others.detectors:
        effects = effects_of(detector.variants)
        if effects is None:
            continue
        measured = [code for code in others.languages if code in effects.base]
        rows = [base_line(effects, measured)]
        for code in others.languages:
            if detector.sets.size(code) is not None:
                rows += _change_lines(detector, effects, code, measured)
        name = detector.sets.title
        title = f"{name}: perplexity multipliers of every set on every language"
        found[name] = grid(title, ["switched off", *map(language_name, measured)], rows, tone=_CSS)
    return found


def _change_lines(
    detector: ShownDetector, effects: Effects, language: str, measured: Sequence[str]
) -> list[Line]:
    size, variants = detector.sets.size(language), detector.variants
    head = Cell(text=language_name(language), details=(f"{count(size)} neurons",))
    variant = variants.of_set("detected", language)
    if variant is None:
        why = "not measured" if size else "no neurons to switch off"
        cells = [Cell(details=(why,), shade=0, framed=code == language) for code in measured]
        return [line(head, *cells)]
    cells = [
        _change_cell(effects.of(variant, code), beside_random(variants, variant, code), code == language)
        for code in measured
    ]
    lines = [line(head, *cells)]
    if controls := variants.controls_of(variant.name):
        blank = Cell(details=("not measured",), shade=0)
        draws = [draws_cell(effects, controls, code, fine_times, " to ") or blank for code in measured]
        lines.append(line(draws_name(len(controls)), *draws, tone="draws"))
    return lines


def _change_cell(effect: Effect | None, verdict: str, own: bool) -> Cell:
    if effect is None:
        return Cell(details=("not measured",), shade=0, framed=own)
    interval = f"{fine_times(effect.low)} to {fine_times(effect.high)}"
    return Cell(
        text=fine_times(effect.times),
        marks=(_RANDOM[verdict],),
        details=(interval if effect.n_sentences > 1 else "one sentence, no interval",),
        shade=shade(effect.times),
        tone=verdict if verdict in (ABOVE, BELOW) else "quiet",
        framed=own,
    )


def _overlap_cell(rows: list[Row] | None) -> Cell:
    if rows is None:
        return Cell(details=("not compared",), shade=0)
    row = rows[0]
    verdict = overlap_verdict(row)
    if verdict not in COMPARED:
        sizes = f"{count(row['n_a'])} and {count(row['n_b'])} neurons"
        return Cell(text=DASH, marks=(_CHANCE[verdict],), details=(sizes,), shade=0, tone=EMPTY)
    ratio, common = chance_ratio(row), f"{count(row['n_common'])} common"
    ends = f"[{count(row['chance_low'])}, {count(row['chance_high'])}]"
    return Cell(
        text=_jaccard(row["jaccard"]),
        marks=(_CHANCE[verdict],),
        details=(
            f"by chance {_jaccard(row['chance_jaccard'])}",
            f"{common}, {times(ratio)}" if ratio else common,
            f"{number(row['chance_common'], 2)} {ends}, {p_words(row['p_value'])}",
        ),
        shade=_jaccard_shade(row["jaccard"]),
        tone=verdict,
    )


def p_words(p_value: float) -> str:
    """``p 0.042``, ``p <0.001``."""
    return "p <0.001" if p_value < 0.001 else f"p {p_value:.2f}" if p_value >= 0.1 else f"p {p_value:.3f}"


def _jaccard(value: float) -> str:
    return "<0.001" if 0 < value < 0.0005 else f"{value:.3f}"


def _jaccard_shade(value: float) -> int:
    return sum(value >= step for step in _JACCARD_STEPS)


def _agreement(others: OtherMethods, degenerate: bool) -> dict[str, Markup]:
    """Layer by layer, of the pairs with the nearly degenerate method or of all others."""
    titled = {
        f"{others.names[a]} and {others.names[b]}": rows
        for (a, b), rows in others.overlaps.items()
        if (DEGENERATE in (a, b)) is degenerate
    }
    return {title: agreement_chart(rows, others.impacts[0].n_layers, title) for title, rows in titled.items()}


def _least(detector: ShownDetector) -> str | None:
    """How relevant the least relevant chosen neuron is, over languages, where the detector ranks by relevance."""
    thresholds = json.loads(detector.row["thresholds_json"] or "{}")
    known = [v for name, v in thresholds.items() if name.startswith("relevance/") and v is not None]
    return span(min(known), max(known), lambda value: percent(value, 3)) if known else None
