"""The picture over the slider: set sizes as lines over the threshold, both axes logarithmic."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from polyneuron.eval.report.charts.svg import Axis, Drawing
from polyneuron.eval.report.numbers.thresholds import Curves
from polyneuron.eval.report.words.wording import count

_HEIGHT = 210.0


def threshold_chart(curves: Curves, marker_id: str) -> Markup:
    """Shared, mean exclusive and mean related neurons; ``marker_id`` names the line the slider moves."""
    x_axis = Axis(float(curves.multipliers[0]), float(curves.multipliers[-1]), log=True, pad_percent=0)
    shared = curves.shared.sum(axis=0).astype(float)
    related = curves.related.sum(axis=0).mean(axis=0)
    exclusive = curves.exclusive().sum(axis=0).mean(axis=0)
    y_axis = Axis(1.0, max(10.0, float(related.max())), log=True, pad_percent=0)
    top = 8.0
    floor = top + _HEIGHT
    drawing = Drawing(
        floor + 22,
        "Shared, exclusive and related neurons as the threshold grows; the table below has the numbers",
    )
    if curves.certified_from is not None:
        end = x_axis.at(min(max(curves.certified_from, x_axis.low), x_axis.high))
        if end > 0:
            drawing.bar(0, end, top, _HEIGHT, "uncertified", "below the certified floor: upper bounds")
            if end > 22:
                drawing.text(0.5, floor - 6, "upper bounds only", "tick halo")
    for tick in y_axis.ticks(5):
        y = floor - _HEIGHT * y_axis.at(tick) / 100
        drawing.line(0, y, 100, y, "grid")
        drawing.text(0, y - 3, count(tick), "tick halo")
    for tick, words in ((1 / 16, "×1/16"), (1 / 4, "×1/4"), (1.0, "the study"), (4.0, "×4"), (16.0, "×16")):
        at = x_axis.at(tick)
        drawing.line(at, floor, at, floor + 4, "axis")
        anchor = "start" if at < 2 else "end" if at > 98 else "middle"
        drawing.text(at, floor + 17, words, "tick", anchor)
    drawing.line(0, floor, 100, floor, "axis")
    for values, css in ((related, "line-related"), (exclusive, "line-exclusive"), (shared, "line-shared")):
        drawing.path(_points(curves, values, x_axis, y_axis), top, _HEIGHT, css)
    _label_lines(
        drawing, curves, x_axis, y_axis, floor, {"related": related, "exclusive": exclusive, "shared": shared}
    )
    at = x_axis.at(1.0)
    drawing.raw(
        f'<line id="{marker_id}" x1="{at:.2f}%" x2="{at:.2f}%" y1="{top}" y2="{floor}" class="marker"/>'
    )
    return drawing.render()


def _points(curves: Curves, values: np.ndarray, x_axis: Axis, y_axis: Axis) -> list[tuple[float, float]]:
    """Where the count is at least one: an empty set has no place on a logarithmic axis."""
    pairs = zip(curves.multipliers, values, strict=True)
    return [(x_axis.at(float(m)), y_axis.at(float(v)) / 100) for m, v in pairs if v >= 1]


def _label_lines(
    drawing: Drawing, curves: Curves, x_axis: Axis, y_axis: Axis, floor: float, lines: dict[str, np.ndarray]
) -> None:
    """Names where the falling lines leave room: the upper ones to their right, the lowest to its left.

    They stand past the study's threshold, at the last point where every line that starts above one still is.
    """
    alive = {name: values for name, values in lines.items() if values.max() >= 1}
    if not alive:
        return
    still = np.flatnonzero(np.min(list(alive.values()), axis=0) >= 1)
    place = min(len(curves.multipliers) * 5 // 8, int(still[-1]) if len(still) else 0)
    at = x_axis.at(float(curves.multipliers[place]))
    ordered = sorted(alive, key=lambda name: -float(alive[name][place]))
    ys = [floor - _HEIGHT * y_axis.at(max(1.0, float(alive[name][place]))) / 100 for name in ordered]
    upper = ordered[:-1] or ordered
    y = max(10.0, min(ys[0], ys[len(upper) - 1] - 14 * (len(upper) - 1)) - 2)
    for name in upper:
        drawing.text(at, y, name, "label halo", "start", 7)
        y += 15
    if len(ordered) > 1:
        side = ("end", -9) if at > 22 else ("start", 7)
        drawing.text(at, min(max(ys[-1] + 12, y + 2), floor - 4), ordered[-1], "label halo", *side)
