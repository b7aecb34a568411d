"""The frames that charts are drawn in: bands below each other, rows of bars, and panels with two axes.

A frame knows sizes, margins, grids and where names stand; a chart says what is shown. Names of the outermost ticks stay
inside the drawing.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from polyneuron.eval.report.charts.svg import Axis, Drawing
from polyneuron.eval.report.words.wording import told_apart

Form = Callable[[float], str]
"""How the value of a tick is written."""
Look = tuple[str, str]
"""The shape of a mark and its class."""
Interval = tuple[float | None, float, float | None]
"""A value between its lower and upper end. One end without the other is open; without both there is no interval."""


class BarRow(NamedTuple):
    """A name, its value in words, and under them the segments of one bar, each as long as its number, in its class."""

    name: str
    words: str
    segments: Sequence[tuple[float, str]]
    tip: str


class Bands(Drawing):
    """Categories below each other over one horizontal axis ``x``, each with a heading and lanes of marks. A lane's name stands
    left of the plot and its value right of it, so that no line runs through words. ``form`` writes the ticks; ``sizes``: pixels
    over the lanes of a band, of a lane, and under them."""

    LEFT, RIGHT = 25.0, 80.0
    """Percents that the plot reaches between."""

    def __init__(self, label: str, x: Axis, form: Form, *, sizes: Sequence[int] = (22, 22, 8)) -> None:
        super().__init__(label)
        self._x, self._form, self._sizes, self._bottom = x, form, sizes, 0
        self._lanes: list[float] = []  # the tops of those that the grid runs through

    def at(self, value: float) -> float:
        """Where a value is, in percent of the width."""
        return self.LEFT + (self.RIGHT - self.LEFT) * self._x.at(value) / 100

    def band(self, name: str, n_lanes: int, remark: str = "") -> list[float]:
        """Opens the next band, with a remark at the right of its name; the middles of its lanes in pixels."""
        top, (head, lane, gap) = self._bottom, self._sizes
        self._bottom += head + n_lanes * lane + gap
        if name:
            self.text(0, top + 15, name, "label")
        if remark:
            self.text(100, top + 15, remark, "tick", "end")
        tops = [top + head + lane * i for i in range(n_lanes)]
        self._lanes += tops
        return [y + lane / 2 for y in tops]

    def note(self, y: float, name: str, words: str) -> None:
        """Words in the place of a lane that has no value."""
        self._lanes.remove(y - self._sizes[1] / 2)
        self.text(0, y + 5, name, "tick")
        self.text(self.LEFT, y + 5, words, "tick")

    def estimate(self, y: float, interval: Interval, look: Look, *, name: str, words: str, tip: str) -> None:
        """A lane's name, its mark with a whisker, and its value in words."""
        low, value, high = interval
        if low is not None or high is not None:
            ends = self.LEFT if low is None else self.at(low), self.RIGHT if high is None else self.at(high)
            self.line(ends[0], y, ends[1], y, "interval")
        self.mark(self.at(value), y, *look, tip)
        self.text(0, y + 5, name, "tick")
        self.text(100, y + 5, words, "value", "end")

    def render(self, reference: float | None = None) -> Markup:
        """The chart, with the grid and a dashed line at the ``reference`` under everything else."""
        above, self.parts = self.parts, []
        for tick in self._x.ticks(4):
            self._down(self.at(tick), "grid")
            self.text(self.at(tick), self._bottom + 16, self._form(tick), "tick", "middle")
        if reference is not None:
            self._down(self.at(reference), "reference")
        self.parts += above
        return self.svg(self._bottom + 24)

    def _down(self, x: float, css: str) -> None:
        """A line through all lanes that have marks, in as few pieces as they allow."""
        height, start = self._sizes[1], 0
        for i, top in enumerate(self._lanes, start=1):
            if i == len(self._lanes) or self._lanes[i] != top + height:
                self.line(x, self._lanes[start], x, top + height, css)
                start = i


class Plot(Drawing):
    """A panel ``height`` pixels tall below ``top``, with an axis to the right and one upwards, or downwards where it
    begins with its larger end."""

    def __init__(self, label: str, x: Axis, y: Axis, *, top: float, height: float) -> None:
        super().__init__(label)
        self.x, self._y, self.top, self.height, self.floor = x, y, top, height, top + height

    def y_at(self, value: float) -> float:
        """Where a value is, in pixels from the top."""
        return self.floor - self.height * self._y.at(value) / 100

    def grid(self, x_names: Iterable[tuple[float, str]], most: int = 4) -> None:
        """Lines at ``most`` values of the upward axis, the floor, and named ticks under it."""
        for tick in self._y.ticks(most):
            self.line(0, self.y_at(tick), 100, self.y_at(tick), "grid")
        self.line(0, self.floor, 100, self.floor, "axis")
        for value, words in x_names:
            at = self.x.at(value)
            self.line(at, self.floor, at, self.floor + 4, "axis")
            self.text(at, self.floor + 17, words, "tick", _anchor(at, words))

    def name_lines(self, form: Form | None = None, most: int = 4) -> None:
        """The values of the grid's lines, to be called after what must not run through them; without a form, in as few digits
        as tell them apart."""
        ticks = self._y.ticks(most)
        for tick, words in zip(ticks, map(form, ticks) if form else told_apart(ticks), strict=True):
            self.text(0, self.y_at(tick) - 3, words, "tick halo")

    def curve(self, points: Iterable[tuple[float, float]], css: str) -> None:
        """A line through points given as values of both axes."""
        steps = " L".join(f"{self.x.at(x):.2f} {100 - self._y.at(y):.2f}" for x, y in points)
        self.path(steps and f"M{steps}", self.top, self.height, css)


def bar_rows(label: str, rows: Sequence[BarRow], *, row: int = 34, bar: int = 11) -> Markup:
    """Bars to one scale from zero, names and values above them; ``row`` and ``bar`` are heights in pixels."""
    longest = max([1, *(sum(length for length, _ in each.segments) for each in rows)])
    drawing = Drawing(label)
    for i, (name, words, segments, tip) in enumerate(rows):
        y, end = i * row, 0.0
        drawing.text(0, y + 13, name, "label")
        drawing.text(100, y + 13, words, "value", "end")
        for length, css in segments:
            start, end = end, end + 100 * length / longest
            drawing.bar(start, end, y + 18, bar, css, tip=tip)
    return drawing.svg(row * len(rows) + 4)


def room_of_names(names: Iterable[str]) -> float:
    """The percent of a chart that names of rows take at their left, in the narrowest of panels."""
    return min(45.0, max(25.0, 3.0 * max(map(len, names), default=0)))


def name_layers(drawing: Drawing, n_layers: int, y: float, left: float = 0) -> None:
    """Names of the first, middle and last of layers that lie side by side from ``left`` percent to the right edge."""
    ends = {n_layers - 1: (100.0, "end"), 0: (left, "start")}
    for layer in sorted({0, n_layers // 2, n_layers - 1}):
        middle = left + (100 - left) * (layer + 0.5) / n_layers
        at, anchor = ends.get(layer, (middle, "middle"))
        drawing.text(at, y, f"layer {layer}", "tick", anchor)


def _anchor(at: float, words: str) -> str:
    room = 1.2 * len(words)  # about half the name's width in percent of a phone's screen
    return "start" if at < room else "end" if at > 100 - room else "middle"
