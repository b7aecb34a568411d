"""Models as lettered points: a figure of Eq. 4 or 6 across models against their ability, better ones higher."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from polyneuron.eval.report.charts.svg import Axis, Drawing
from polyneuron.eval.report.words.wording import number

_HEIGHT = 220.0
_ENOUGH_MODELS = 5


def letter_of(i: int) -> str:
    """A to Z, then AA, AB and so on."""
    return chr(ord("A") + i) if i < 26 else f"{chr(ord('A') + i // 26 - 1)}{chr(ord('A') + i % 26)}"


def scatter(
    points: list[tuple[str, float, float]],
    x_name: str,
    y_name: str,
    better: str,
    reference: float | None,
    fewer_is_better: bool = False,
) -> Markup:
    """``points``: letter, x, ability. ``better``: what stands above; ``reference``: the x of equal worth."""
    if not points:
        return Markup('<p class="none">No model has both values.</p>')
    xs, ys = [p[1] for p in points], [p[2] for p in points]
    x_axis = Axis(
        min([*xs, reference or min(xs)]) * 0.95, max([*xs, reference or max(xs)]) * 1.05 or 1.0, pad_percent=5
    )
    spread = (max(ys) - min(ys)) or max(ys) * 0.1 or 1.0
    y_axis = Axis(min(ys) - 0.15 * spread, max(ys) + 0.15 * spread, pad_percent=0)
    top, floor = 22.0, 22.0 + _HEIGHT

    def height(value: float) -> float:
        share = y_axis.at(value) / 100
        return top + _HEIGHT * (share if fewer_is_better else 1 - share)

    drawing = Drawing(floor + 40, f"{x_name} across models against {y_name}")
    drawing.text(0, 12, f"↑ {better}", "tick")
    for tick in y_axis.ticks(4):
        drawing.line(0, height(tick), 100, height(tick), "grid")
        drawing.text(0, height(tick) - 3, number(tick, tidy=True), "tick halo")
    drawing.line(0, floor, 100, floor, "axis")
    for tick in x_axis.ticks(4):
        drawing.text(x_axis.at(tick), floor + 15, number(tick, tidy=True), "tick", "middle")
    drawing.text(100, floor + 33, f"{x_name} →", "tick", "end")
    if reference is not None:
        drawing.line(x_axis.at(reference), top, x_axis.at(reference), floor, "reference")
        drawing.text(x_axis.at(reference), top + 10, "equal worth", "tick halo", "start", 5)
    for letter, x, y in points:
        drawing.mark(
            x_axis.at(x), height(y), "disc", "shared", f"{letter}: {number(x)}, {number(y)} {y_name}"
        )
        rivals = [
            x_axis.at(other) for name, other, b in points if name != letter and abs(b - y) < 0.08 * spread
        ]
        crowded = any(0 <= rival - x_axis.at(x) < 8 for rival in rivals)  # then the letter stands to the left
        side = ("end", -9.0) if crowded else ("start", 9.0)
        drawing.text(x_axis.at(x), height(y) + 5, letter, "label halo", *side)
    return drawing.render()


def trend_words(pairs: list[tuple[float, float]]) -> str:
    """Of (x, ability), higher is better. A rank correlation needs at least five models to be worth a number."""
    if len(pairs) < _ENOUGH_MODELS:
        return f"{len(pairs)} models with both values: too few for a trend."
    first, second = (_ranks(np.array(values)) for values in zip(*pairs, strict=True))
    if first.std() == 0 or second.std() == 0:
        return f"All {len(pairs)} models are alike in one of the two: no trend."
    rho = float(np.corrcoef(first, second)[0, 1])
    return f"Spearman rank correlation with ability over {len(pairs)} models: {number(rho, 2)}."


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ties share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place], np.float64)
