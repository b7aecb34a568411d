"""Charts of Eq. 4–6: importance per language, and how the shared ratio moves under other rules."""

from __future__ import annotations

import math

from markupsafe import Markup

from polyneuron.eval.report.charts.svg import Axis, Drawing, side_label, x_ticks
from polyneuron.eval.report.numbers.estimates import Estimate, Neighbour
from polyneuron.eval.report.words.wording import language_name, number


def importance_chart(rows: list[tuple[str, Estimate | None, Estimate | None]]) -> Markup:
    """Eq. 5 per language, log scale: from perplexity, as published, and from its log; 1 is equal worth."""
    values = [
        v
        for _, *pair in rows
        for e in pair
        if e is not None and e.value is not None
        for v in (e.value, e.low, e.high)
        if v is not None and v > 0 and math.isfinite(v)
    ]
    axis = Axis(min([0.5, *values]), max([2.0, *values]), log=True)
    row = 68
    bottom = row * len(rows)
    drawing = Drawing(
        bottom + 24, "Importance of a shared neuron against an exclusive one, per language, log scale"
    )
    x_ticks(drawing, axis, [(t, number(t, tidy=True)) for t in axis.ticks(5)], bottom)
    drawing.line(axis.at(1), 0, axis.at(1), bottom, "reference")
    for i, (language, by_ppl, by_nll) in enumerate(rows):
        y = row * i
        drawing.line(0, y, 100, y, "rule")
        drawing.text(0, y + 15, language_name(language), "label halo")
        _estimate(drawing, axis, y + 33, by_ppl, "disc", "shared", "PPL")
        _estimate(drawing, axis, y + 55, by_nll, "ring", "ring", "log PPL")
    return drawing.render()


def _estimate(
    drawing: Drawing, axis: Axis, y: float, estimate: Estimate | None, shape: str, css: str, name: str
) -> None:
    if estimate is None or estimate.value is None:
        drawing.text(0, y + 4, f"{name}: no value", "tick halo")
        return
    at = axis.at(estimate.value)
    left = right = at
    remark = ", off the scale" if estimate.value <= 0 else ""
    if estimate.low is not None or estimate.high is not None:
        left = 0.0 if estimate.low is None else axis.at(estimate.low)
        right = 100.0 if estimate.high is None else axis.at(estimate.high)  # an open end runs off the plot
        drawing.line(left, y, right, y, "interval")
    drawing.mark(at, y, shape, css, f"{name}: {estimate.words}")
    side_label(drawing, min(left, at), max(right, at), y + 4, f"{name} {number(estimate.value)}{remark}")


def sensitivity_chart(neighbours: list[Neighbour]) -> Markup:
    """The shared ratio (Eq. 4) under every neighbouring rule, the study's own rule filled."""
    values = [n.shared_ratio for n in neighbours if n.shared_ratio is not None and n.shared_ratio > 0]
    axis = Axis(min([0.1, *values]), max([1.0, *values]), log=True)
    row = 38
    bottom = row * len(neighbours)
    drawing = Drawing(bottom + 24, "Shared ratio under neighbouring rules, log scale")
    x_ticks(drawing, axis, [(t, number(t, tidy=True)) for t in axis.ticks(5)], bottom)
    for i, neighbour in enumerate(neighbours):
        y = row * i
        drawing.line(0, y, 100, y, "rule")
        drawing.text(0, y + 14, neighbour.label, "label halo")
        if neighbour.shared_ratio is None or neighbour.shared_ratio <= 0:
            drawing.text(0, y + 30, _no_ratio(neighbour), "tick halo")
            continue
        at = axis.at(neighbour.shared_ratio)
        drawing.mark(at, y + 25, "diamond", "shared" if neighbour.is_study else "hollow", neighbour.label)
        side_label(drawing, at, at, y + 29, number(neighbour.shared_ratio))
    return drawing.render()


def _no_ratio(neighbour: Neighbour) -> str:
    """Short enough for a phone; the reason itself is in the table and in the list of omissions."""
    return "no value: see the remark below" if neighbour.null_reason else "no shared neurons"
