"""The figure on the first screen: a language's perplexity without a kind of set, beside its draws."""

from markupsafe import Markup

from polyneuron.eval.report.charts.frame import room_of_names
from polyneuron.eval.report.charts.svg import Drawing, log_axis
from polyneuron.eval.report.numbers.effects import Effect, Effects
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.words.wording import language_name, times
from polyneuron.neuron_core.sets.variant_name import ControlKind

LOOKS = {
    "shared": ("diamond", "shared"),
    "exclusive": ("square", "exclusive"),
    "strict_exclusive": ("square", "hollow"),
}
"""Shape and class of each kind of set."""
_DRAWS: dict[ControlKind, tuple[str, str, float]] = {
    "control": ("random draw", "control", -3),
    "impact_control": ("draw nearest in impact", "like-impact", 3),
}
"""Words, class and place under the middle of the row, in pixels, of each kind of draws that is drawn."""
_ROW, _RIGHT = 30, 82.0
"""Pixels from row to row, and the percent that the plot ends at: numbers stand right of it."""


def answer_charts(study: ShownStudy, effects: Effects) -> dict[str, Markup]:
    """By kind of set, the multiples of perplexity without it on a logarithmic scale, a row for each language that was
    measured."""
    found = {kind: _effects(study, effects, kind) for kind in LOOKS}
    return {kind: _chart(study, effects, kind, rows) for kind, rows in found.items() if rows}


def _effects(study: ShownStudy, effects: Effects, kind: str) -> dict[str, Effect]:
    own = {code: None if kind == "shared" else code for code in study.languages}
    found = {code: effects.of(study.variants.of_set(kind, set_of), code) for code, set_of in own.items()}
    return {code: effect for code, effect in found.items() if effect is not None}


def _chart(study: ShownStudy, effects: Effects, kind: str, rows: dict[str, Effect]) -> Markup:
    sets = {code: study.variants.of_set(kind, None if kind == "shared" else code) for code in rows}
    drawn = {
        code: [
            (draw, effect.times, *look)
            for control, look in _DRAWS.items()
            for draw in study.variants.controls_of(variant.name if variant else "", control)
            if (effect := effects.of(draw, code)) is not None
        ]
        for code, variant in sets.items()
    }
    ends = [v for e in rows.values() for v in (e.low, e.times, e.high)]
    axis = log_axis([*ends, *(times for draws in drawn.values() for _, times, *_ in draws)], 0.9, 1.2)
    drawing = Drawing(
        f"Perplexity without the {kind.replace('_', ' ')} set as a multiple of before, log scale"
    )

    left = room_of_names([language_name(code) for code in rows])

    def at(value: float) -> float:
        return left + (_RIGHT - left) * axis.at(value) / 100

    floor = _ROW * len(rows)
    for tick in axis.ticks(3):
        drawing.line(at(tick), 0, at(tick), floor, "grid")
        drawing.text(at(tick), floor + 16, times(tick, tidy=True), "tick", "middle")
    drawing.line(at(1), 0, at(1), floor, "reference")
    for i, (code, effect) in enumerate(rows.items()):
        y = _ROW * i + _ROW / 2
        drawing.text(0, y + 5, language_name(code), "label")
        for draw, multiple, words, css, down in drawn[code]:
            drawing.mark(at(multiple), y + down, "tick", css, f"{words}, seed {draw.seed}: {times(multiple)}")
        drawing.line(at(effect.low), y, at(effect.high), y, "interval")
        tip = f"{language_name(code)}: {times(effect.times)} ({times(effect.low)} to {times(effect.high)})"
        drawing.mark(at(effect.times), y, *LOOKS[kind], tip)
        drawing.text(100, y + 5, times(effect.times), "value", "end")
    return drawing.svg(floor + 22)
