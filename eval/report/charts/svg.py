"""Drawing primitives: SVG whose horizontal positions are percentages and whose vertical positions are pixels.

So a chart is as wide as the page lets it be while its text keeps its size, on a phone and on paper,
without a line of script. Text is escaped here, once; colours and patterns come from the style sheet
through class names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape

from markupsafe import Markup


@dataclass(frozen=True)
class Axis:
    """Maps data to percent of the plot's width (or of a unit height). ``log`` needs positive data."""

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
        """Round values inside the axis, at most ``most``."""
        if self.log:
            return _log_ticks(self.low, self.high, most)
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        step = 10.0 ** math.floor(math.log10(span / most))
        while math.floor(self.high / step + 1e-9) - math.ceil(self.low / step - 1e-9) + 1 > most:
            step *= 2.5 if _leading_digit(step) == 2 else 2
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


@dataclass
class Drawing:
    """One SVG under construction: ``height_px`` tall, as wide as its container."""

    height_px: float
    label: str
    parts: list[str] = field(default_factory=list)

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        self.parts.append(f'<line x1="{x1:.2f}%" y1="{y1:.1f}" x2="{x2:.2f}%" y2="{y2:.1f}" class="{css}"/>')

    def bar(self, x1: float, x2: float, y: float, height: float, css: str, tip: str = "") -> None:
        x, width = min(x1, x2), abs(x2 - x1)
        shape = f'x="{x:.2f}%" y="{y:.1f}" width="{width:.2f}%" height="{height:.1f}" class="{css}"'
        self.parts.append(f"<rect {shape}><title>{escape(tip)}</title></rect>" if tip else f"<rect {shape}/>")

    def mark(self, x: float, y: float, shape: str, css: str, tip: str = "") -> None:
        """``shape``: disc, ring, diamond, square or tick, drawn around a point at x percent."""
        title = f"<title>{escape(tip)}</title>" if tip else ""
        self.parts.append(
            f'<svg x="{x:.2f}%" y="{y:.1f}" class="at" width="1" height="1">'
            f'<path d="{_SHAPES[shape]}" class="{css}">{title}</path></svg>'
        )

    def text(
        self, x: float, y: float, words: str, css: str = "", anchor: str = "start", dx: float = 0
    ) -> None:
        shift = f' dx="{dx:g}"' if dx else ""
        self.parts.append(
            f'<text x="{x:.2f}%" y="{y:.1f}" text-anchor="{anchor}" class="{css}"{shift}>'
            f"{escape(words)}</text>"
        )

    def path(self, points: list[tuple[float, float]], y: float, height: float, css: str) -> None:
        """A line through (x percent, 0..1 from the bottom) in a box; its stroke keeps its width."""
        if not points:
            return
        steps = " ".join(
            f"{'M' if i == 0 else 'L'}{px:.2f} {100 * (1 - py):.2f}" for i, (px, py) in enumerate(points)
        )
        self.parts.append(
            f'<svg x="0" y="{y:.1f}" width="100%" height="{height:.1f}" viewBox="0 0 100 100" '
            f'preserveAspectRatio="none">'
            f'<path d="{steps}" class="{css}" vector-effect="non-scaling-stroke"/></svg>'
        )

    def raw(self, markup: str) -> None:
        """Markup made by this package; never text from outside."""
        self.parts.append(markup)

    def render(self) -> Markup:
        return Markup(  # every part was escaped above
            f'<svg class="chart" width="100%" height="{self.height_px:.0f}" role="img" '
            f'aria-label="{escape(self.label)}">{"".join(self.parts)}</svg>'
        )


def side_label(drawing: Drawing, low: float, high: float, y: float, words: str) -> None:
    """A value beside a mark that reaches from ``low`` to ``high`` percent, where there is room."""
    if high <= 72:
        drawing.text(high, y, words, "value halo", "start", 10)
    elif low >= 28:
        drawing.text(low, y, words, "value halo", "end", -10)
    else:
        drawing.text(50, y - 11, words, "value halo", "middle")


def x_ticks(drawing: Drawing, axis: Axis, ticks: list[tuple[float, str]], bottom: float) -> None:
    """Vertical grid lines with their names below; the outermost names stay inside the drawing."""
    for value, words in ticks:
        at = axis.at(value)
        drawing.line(at, 0, at, bottom, "grid")
        room = 1.2 * len(words)  # about half the name's width in percent of a phone's screen
        drawing.text(
            at, bottom + 16, words, "tick", "start" if at < room else "end" if at > 100 - room else "middle"
        )


_SHAPES = {
    "disc": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
    "ring": "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
    "diamond": "M0 -7L7 0L0 7L-7 0z",
    "square": "M-5 -5h10v10h-10z",
    "tick": "M0 -6V6",
}


def _leading_digit(step: float) -> int:
    return round(step / 10 ** math.floor(math.log10(step) + 1e-9))


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    decades = [10.0**e for e in range(first, last + 1)]
    if len(decades) > most:
        stride = math.ceil(len(decades) / most)
        return [d for e, d in zip(range(first, last + 1), decades, strict=True) if e % stride == 0]
    if len(decades) < 3:
        fine = [m * 10.0**e for e in range(first - 1, last + 1) for m in (1, 2, 5)]
        inside = [t for t in fine if low * (1 - 1e-9) <= t <= high * (1 + 1e-9)]
        if len(inside) < 3:
            return Axis(low, high).ticks(most)
        if len(inside) <= most + 1:
            return inside
    return decades
