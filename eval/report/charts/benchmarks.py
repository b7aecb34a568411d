"""A benchmark's scores per language: nothing off, the shared set, the language's own, and random draws."""

from typing import NamedTuple

from markupsafe import Markup

from polyneuron.eval.report.charts.frame import Bands, Look
from polyneuron.eval.report.charts.svg import Axis
from polyneuron.eval.report.numbers.benchmarks import Results, points, title_of
from polyneuron.eval.report.numbers.units import Row
from polyneuron.eval.report.numbers.variants import BASE, ShownVariant
from polyneuron.eval.report.words.wording import count, language_name

_DRAWN = ("shared", "exclusive", "control")


class _Lane(NamedTuple):
    name: str
    look: Look
    scores: list[tuple[ShownVariant, Row]]


def score_chart(results: Results, benchmark: str) -> Markup | None:
    """Points with 95% intervals; a dashed line marks the score before. None without a deactivation to show."""
    by_language = {code: lanes for code in results.languages if (lanes := _lanes(results, benchmark, code))}
    scores = [score for lanes in by_language.values() for lane in lanes for score in lane.scores]
    if not any(variant.kind in _DRAWN for variant, _ in scores):
        return None
    reach = max(points(row["value"] if row["high"] is None else row["high"]) for _, row in scores)
    chart = Bands(
        f"{title_of(benchmark)} after switching neurons off, points per language",
        Axis(0.0, max(1.0, reach)),
        "{:g}".format,
    )
    for language, lanes in by_language.items():
        n_items = min(row["n"] for lane in lanes for _, row in lane.scores)
        ys = chart.band(language_name(language), len(lanes), f"{count(n_items)} items")
        if base := results.scored(benchmark, language):
            at = chart.at(points(base["value"]))
            chart.line(at, ys[0] - 11, at, ys[-1] + 11, "reference")
        for y, lane in zip(ys, lanes, strict=True):
            _draw(chart, y, lane)
    return chart.render()


def _lanes(results: Results, benchmark: str, language: str) -> list[_Lane]:
    """The lanes that have a score, from top to bottom."""
    variants = results.variants
    lanes = [("before", ("disc", "unchanged"), variants.of_kind(BASE))]
    for name, shape, own in (("shared", "diamond", None), ("exclusive", "square", language)):
        if (variant := variants.of_set(name, own)) is not None:
            draws = variants.controls_of(variant.name)
            lanes += [(name, (shape, name), [variant]), ("random", ("tick", "control"), draws)]
    scored = [
        _Lane(name, look, [(v, row) for v in drawn if (row := results.scored(benchmark, language, v.name))])
        for name, look, drawn in lanes
    ]
    return [lane for lane in scored if lane.scores]


def _draw(chart: Bands, y: float, lane: _Lane) -> None:
    """Name to the left, value to the right; several draws share a lane, and its whisker covers all of theirs."""
    values = [points(row["value"]) for _, row in lane.scores]
    ends = [points(row[end]) for _, row in lane.scores for end in ("low", "high") if row[end] is not None]
    if ends:
        left, right = (chart.at(reach([*values, *ends])) for reach in (min, max))
        chart.line(left, y, right, y, "interval")
    for (variant, row), value in zip(lane.scores, values, strict=True):
        ends = [points(row[end]) for end in ("low", "high") if row[end] is not None]
        interval = " ({:.1f} to {:.1f})".format(*ends) if len(ends) == 2 else ""
        chart.mark(chart.at(value), y, *lane.look, f"{variant.name}: {value:.1f}{interval}")
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    chart.text(0, y + 5, lane.name, "tick")
    chart.text(100, y + 5, low if low == high else f"{low}–{high}", "value", "end")
