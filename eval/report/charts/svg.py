"""Drawing primitives: SVG whose horizontal positions are percentages and whose vertical positions are pixels.

So a chart is as wide as the page lets it be while its text keeps its size, on a phone and on paper, without a line of script.
Text is escaped here, once; colours and patterns come from the style sheet through class names.
"""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

_SHAPES = {
    "disc": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
    "ring": "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
    "diamond": "M0 -7L7 0L0 7L-7 0z",
    "square": "M-5 -5h10v10h-10z",
    "tick": "M0 -6V6",
}
_TIE = 1e-9


@dataclass(frozen=True)
class Axis:
    """Maps data to percent of the plot's width, or of its height. ``log`` needs positive data; ``low`` may be the larger end."""

    low: float
    high: float
    log: bool = False
    pad_percent: float = 1.5

    def at(self, value: float) -> float:
        """Position in percent, clamped to the plot; on a log axis zero and below are at its left end."""
        if self.log and value <= 0:
            return self.pad_percent
        low, high, v = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        share = 0.5 if high == low else (v - low) / (high - low)
        return self.pad_percent + (100 - 2 * self.pad_percent) * min(1.0, max(0.0, share))

    def ticks(self, most: int = 5) -> list[float]:
        """Round values inside the axis, at most ``most``, or one more on a log axis."""
        if self.log:
            return _log_ticks(self.low, self.high, most)
        if self.high == self.low:
            return [self.low]
        start, end = sorted((self.low, self.high))
        finest = math.floor(math.log10((end - start) / most))
        steps = (m * 10.0**e for e in itertools.count(finest) for m in (1, 2, 5))
        ends = ((s, math.ceil(start / s - _TIE), math.floor(end / s + _TIE)) for s in steps)
        return next([i * s for i in range(first, last + 1)] for s, first, last in ends if last - first < most)


def log_axis(values: Iterable[float], low: float, high: float) -> Axis:
    """A logarithmic axis from ``low`` to ``high``, or as far as the values that have a place on it reach."""
    placed = [value for value in values if 0 < value < math.inf]
    return Axis(min([low, *placed]), max([high, *placed]), log=True)


class Drawing:
    """One SVG under construction, as wide as its container; ``label`` is its accessible name."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.parts: list[str] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str, *, id: str = "") -> None:
        """A straight line; scripts find it by ``id``."""
        named = f' id="{escape(id)}"' if id else ""
        ends = f'x1="{x1:.2f}%" y1="{y1:.1f}" x2="{x2:.2f}%" y2="{y2:.1f}"'
        self.parts.append(f'<line{named} {ends} class="{css}"/>')

    def bar(self, x1: float, x2: float, y: float, height: float, css: str, *, tip: str = "") -> None:
        """A rectangle between two places, from ``y`` downwards."""
        box = f'x="{min(x1, x2):.2f}%" y="{y:.1f}" width="{abs(x2 - x1):.2f}%" height="{height:.1f}"'
        self.parts.append(f'<rect {box} class="{css}">{_title(tip)}</rect>')

    def mark(self, x: float, y: float, shape: str, css: str, tip: str = "") -> None:
        """A disc, ring, diamond, square or tick around a point."""
        self.parts.append(
            f'<svg x="{x:.2f}%" y="{y:.1f}" class="at" width="1" height="1">'
            f'<path d="{_SHAPES[shape]}" class="{css}">{_title(tip)}</path></svg>'
        )

    def text(
        self, x: float, y: float, words: str, css: str = "", anchor: str = "start", *, dx: float = 0
    ) -> None:
        """One line of words that starts at, ends at or is centred on ``x``, ``dx`` pixels to the right of it."""
        place = f'x="{x:.2f}%" y="{y:.1f}" text-anchor="{anchor}" class="{css}"' + (
            f' dx="{dx:g}"' if dx else ""
        )
        self.parts.append(f"<text {place}>{escape(words)}</text>")

    def path(self, steps: str, y: float, height: float, css: str, *, width: float = 100) -> None:
        """A path in a box over the whole drawing with its own units, ``width`` by 100; its stroke keeps its width."""
        if not steps:
            return
        self.parts.append(
            f'<svg x="0" y="{y:.1f}" width="100%" height="{height:.1f}" viewBox="0 0 {width:g} 100" '
            f'preserveAspectRatio="none">'
            f'<path d="{steps}" class="{css}" vector-effect="non-scaling-stroke"/></svg>'
        )

    def open_box(self, x: float, height: float, columns: int, rows: int, css: str) -> None:
        """Opens a box from ``x`` percent to the right edge, ``height`` pixels tall, with a unit for each column and row, for
        shapes until `close_box`."""
        self.parts.append(
            f'<svg x="{x:g}%" y="0" width="{100 - x:g}%" height="{height:.0f}" viewBox="0 0 {columns} {rows}" '
            f'preserveAspectRatio="none" class="{css}">'
        )

    def shape(self, steps: str, css: str) -> None:
        """A path in the units of the open box."""
        if steps:
            self.parts.append(f'<path d="{steps}" class="{css}"/>')

    def close_box(self) -> None:
        """Ends the open box."""
        self.parts.append("</svg>")

    def svg(self, height: float) -> Markup:
        """The drawing as an element ``height`` pixels tall."""
        return Markup(  # every part was escaped above
            f'<svg class="chart" width="100%" height="{height:.0f}" role="img" '
            f'aria-label="{escape(self.label)}">{"".join(self.parts)}</svg>'
        )


def _title(tip: str) -> str:
    return f"<title>{escape(tip)}</title>" if tip else ""


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    first, last = math.ceil(math.log10(low) - _TIE), math.floor(math.log10(high) + _TIE)
    decades = [10.0**e for e in range(first, last + 1)]
    if len(decades) > most:
        stride = math.ceil(len(decades) / most)
        return [10.0**e for e in range(first, last + 1) if e % stride == 0]
    fine = [m * 10.0**e for e in range(first - 1, last + 1) for m in (1, 2, 5)]
    inside = [tick for tick in fine if low * (1 - _TIE) <= tick <= high * (1 + _TIE)]
    if len(inside) < 3:
        return Axis(low, high).ticks(most)
    return inside if len(decades) < 3 and len(inside) <= most + 1 else decades
