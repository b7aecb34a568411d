"""A map of one set: groups down, layers across, each place the darker the more neurons of the set it holds."""

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from polyneuron.eval.report.charts.svg import Drawing
from polyneuron.eval.tables.grid import SHADES

_ROW, _LEFT = 18, 9.0
"""Pixels from group to group, and the percent that their names take."""


def map_chart(name: str, groups: Sequence[str], counts: NDArray[np.int64], most: int) -> Markup:
    """counts: neurons by [group, layer]; most: what the darkest shade stands for. Shades follow the root of the count."""
    n_layers = counts.shape[1]
    peak = f"most in layer {int(counts.sum(axis=0).argmax())}" if counts.any() else "no neurons"
    drawing = Drawing(f"Neurons by group and layer, {name}: {peak}")
    height = _ROW * len(groups)
    for g, group in enumerate(groups):
        drawing.text(0, _ROW * g + 14, group, "tick")
    shades = [[shade_of(int(n), most) for n in row] for row in counts]
    drawing.open_box(_LEFT, height, n_layers, len(groups), "place")
    for shade in range(SHADES + 1):
        steps = (
            f"M{x} {g}h.96v.94h-.96z" for g, row in enumerate(shades) for x, s in enumerate(row) if s == shade
        )
        drawing.shape("".join(steps), f"s{shade}")
    drawing.close_box()
    for layer, anchor, at in ((0, "start", _LEFT), (n_layers - 1, "end", 100.0)):
        drawing.text(at, height + 15, f"layer {layer}" if anchor == "start" else str(layer), "tick", anchor)
    return drawing.svg(height + 20)


def shade_of(n: int, most: int) -> int:
    """0 for none, then 1 to `SHADES`."""
    return math.ceil(SHADES * math.sqrt(n / most)) if n else 0
