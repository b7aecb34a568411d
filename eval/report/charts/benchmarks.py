"""A benchmark's scores per language: nothing off, the shared set, the language's own, and random draws."""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup

from polyneuron.eval.report.charts.frame import Bands, Look
from polyneuron.eval.report.charts.svg import Axis
from polyneuron.eval.report.numbers.benchmarks import Judged, Results, points, title_of
from polyneuron.eval.report.numbers.study import Row
from polyneuron.eval.report.words.wording import count, language_name

_SIDES_PERCENT = 22.0
_DRAWN = ("shared", "exclusive", "control")
LEGEND = (
    ("unchanged", "disc", "nothing off"),
    ("shared", "diamond", "shared set off"),
    ("exclusive", "square", "the language’s own exclusive set off"),
    ("control", "tick", "random draws of the same size off"),
)


class _Lane(NamedTuple):
    name: str
    look: Look
    scores: list[tuple[Judged, Row]]


def score_chart(results: Results, benchmark: str) -> Markup | None:
    """Points with 95% intervals; a dashed line marks the score before. None without a deactivation to show."""
    by_language = {code: lanes for code in results.languages if (lanes := _lanes(results, benchmark, code))}
    scores = [score for lanes in by_language.values() for lane in lanes for score in lane.scores]
    if not any(variant.kind in _DRAWN for variant, _ in scores):
        return None
    reach = max(points(row["value"] if row["high"] is None else row["high"]) for _, row in scores)
    chart = Bands(
        f"{title_of(benchmark)} after switching neurons off, points per language",
        Axis(0.0, max(1.0, reach), pad_percent=_SIDES_PERCENT),
        "{:g}".format,
    )
    for language, lanes in by_language.items():
        n_items = min(row["n"] for lane in lanes for _, row in lane.scores)
        ys = chart.band(language_name(language), len(lanes), f"{count(n_items)} items")
        base = results.base and results.scored(benchmark, language, results.base.name)
        if base:
            at = chart.x.at(points(base["value"]))
            chart.line(at, ys[0] - 10, at, ys[-1] + 20, "reference")
        for y, lane in zip(ys, lanes, strict=True):
            _draw(chart, y, lane)
    return chart.render()


def _lanes(results: Results, benchmark: str, language: str) -> list[_Lane]:
    """The lanes that have a score, from top to bottom."""
    own = [v for v in results.of_kind("exclusive") if v.set_language == language][:1]
    shared = results.of_kind("shared")[:1]
    lanes = [("before", ("disc", "unchanged"), [results.base] if results.base else [])]
    for name, shape, variants in (("shared", "diamond", shared), ("exclusive", "square", own)):
        draws = [control for variant in variants for control in results.controls_of(variant.name)]
        lanes += [(name, (shape, name), variants), ("random", ("tick", "control"), draws)]
    scored = [
        _Lane(
            name, look, [(v, row) for v in variants if (row := results.scored(benchmark, language, v.name))]
        )
        for name, look, variants in lanes
    ]
    return [lane for lane in scored if lane.scores]


def _draw(chart: Bands, y: float, lane: _Lane) -> None:
    """Name to the left, value to the right; several draws share a lane, and its whisker covers all of theirs."""
    values = [points(row["value"]) for _, row in lane.scores]
    ends = [points(row[end]) for _, row in lane.scores for end in ("low", "high") if row[end] is not None]
    if ends:
        left, right = (chart.x.at(reach([*values, *ends])) for reach in (min, max))
        chart.line(left, y, right, y, "interval")
    for (variant, row), value in zip(lane.scores, values, strict=True):
        ends = [points(row[end]) for end in ("low", "high") if row[end] is not None]
        interval = " ({:.1f} to {:.1f})".format(*ends) if len(ends) == 2 else ""
        chart.mark(chart.x.at(value), y, *lane.look, f"{variant.name}: {value:.1f}{interval}")
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    chart.text(0, y + 4, lane.name, "halo")
    chart.text(100, y + 4, low if low == high else f"{low}–{high}", "value halo", "end")
