"""A benchmark's scores per language: nothing off, the shared set, the language's own, and random draws."""

from __future__ import annotations

from markupsafe import Markup

from polyneuron.eval.report.charts.svg import Axis, Drawing, x_ticks
from polyneuron.eval.report.numbers.benchmarks import Judged, Results, points, title_of
from polyneuron.eval.report.numbers.study import Row
from polyneuron.eval.report.words.wording import count, language_name

_LANE, _HEAD = 22, 22
_SIDES_PERCENT = 22.0
_DRAWN = ("shared", "exclusive", "control")
LEGEND = (
    ("unchanged", "disc", "nothing off"),
    ("shared", "diamond", "shared set off"),
    ("exclusive", "square", "the language’s own exclusive set off"),
    ("control", "tick", "random draws of the same size off"),
)
_Lane = tuple[str, str, str, list[tuple[Judged, Row]]]


def score_chart(results: Results, benchmark: str) -> Markup | None:
    """Points with 95% intervals; a dashed line marks the score before. None without a deactivation to show."""
    lanes = {
        language: found for language in results.languages if (found := _lanes(results, benchmark, language))
    }
    if not any(
        variant.kind in _DRAWN for found in lanes.values() for *_, rows in found for variant, _ in rows
    ):
        return None
    reach = [
        points(row["high"] if row["high"] is not None else row["value"])
        for found in lanes.values()
        for *_, rows in found
        for _, row in rows
    ]
    axis = Axis(0.0, max([1.0, *reach]), pad_percent=_SIDES_PERCENT)
    heights = {language: _HEAD + _LANE * len(found) + 8 for language, found in lanes.items()}
    bottom = sum(heights.values())
    drawing = Drawing(bottom + 24, f"{title_of(benchmark)} after switching neurons off, points per language")
    x_ticks(drawing, axis, [(tick, f"{tick:g}") for tick in axis.ticks(5)], bottom)
    top = 0
    for language, found in lanes.items():
        drawing.line(0, top, 100, top, "rule")
        base = results.base and results.scored(benchmark, language, results.base.name)
        if base:
            at = axis.at(points(base["value"]))
            drawing.line(at, top + _HEAD, at, top + heights[language], "reference")
        drawing.text(0, top + 15, language_name(language), "label halo")
        n = {row["n"] for *_, rows in found for _, row in rows}
        drawing.text(100, top + 15, f"{count(min(n))} items", "tick halo", "end")
        for i, lane in enumerate(found):
            _draw(drawing, axis, top + _HEAD + _LANE * i + 10, lane)
        top += heights[language]
    return drawing.render()


def _lanes(results: Results, benchmark: str, language: str) -> list[_Lane]:
    """Name, shape, style and scores of each lane that has a score, from top to bottom."""
    own = [v for v in results.of_kind("exclusive") if v.set_language == language]
    shared = results.of_kind("shared")
    lanes: list[tuple[str, str, str, list[Judged]]] = [
        ("before", "disc", "unchanged", [results.base] if results.base else []),
        ("shared", "diamond", "shared", shared[:1]),
        ("random", "tick", "control", [c for v in shared[:1] for c in results.controls_of(v.name)]),
        ("exclusive", "square", "exclusive", own[:1]),
        ("random", "tick", "control", [c for v in own[:1] for c in results.controls_of(v.name)]),
    ]
    found = []
    for name, shape, css, variants in lanes:
        rows = [
            (v, row) for v in variants if (row := results.scored(benchmark, language, v.name)) is not None
        ]
        if rows:
            found.append((name, shape, css, rows))
    return found


def _draw(drawing: Drawing, axis: Axis, y: float, lane: _Lane) -> None:
    """Name to the left, value to the right; several draws share a lane, and its whisker covers all of theirs."""
    name, shape, css, rows = lane
    values = [points(row["value"]) for _, row in rows]
    ends = [points(row[end]) for _, row in rows for end in ("low", "high") if row[end] is not None]
    left, right = axis.at(min([*values, *ends])), axis.at(max([*values, *ends]))
    if ends:
        drawing.line(left, y, right, y, "interval")
    for (variant, row), value in zip(rows, values, strict=True):
        interval = (
            f" ({points(row['low']):.1f} to {points(row['high']):.1f})"
            if row["low"] is not None and row["high"] is not None
            else ""
        )
        drawing.mark(axis.at(value), y, shape, css, f"{variant.name}: {value:.1f}{interval}")
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    drawing.text(0, y + 4, name, "halo")
    drawing.text(100, y + 4, low if low == high else f"{low}–{high}", "value halo", "end")
