"""Benchmark tables: one per benchmark, languages down and variants across, and the sets against their draws."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from polyneuron.eval.report.charts.benchmarks import score_chart
from polyneuron.eval.report.numbers.benchmarks import BASE, Judged, Results, points
from polyneuron.eval.report.numbers.study import Row
from polyneuron.eval.report.words.benchmark_findings import tally_words
from polyneuron.eval.report.words.benchmark_words import heading, how_asked, introduction, notes
from polyneuron.eval.report.words.wording import DASH, language_name, plural

MARKS = {
    "better": "▲ better",
    "worse": "▼ worse",
    "no evidence": "○ no evidence",
    "not judged": "– not judged",
}


@dataclass(frozen=True)
class Cell:
    """A number, its verdict in words, and the interval under it."""

    text: str
    mark: str = ""
    detail: str = ""
    css: str = ""


@dataclass(frozen=True)
class Line:
    name: str
    remark: str
    cells: list[Cell]


@dataclass(frozen=True)
class Column:
    """A variant: its score, and where it can be compared its difference to the base model."""

    name: str
    detail: str
    compared: bool


@dataclass(frozen=True)
class BenchmarkTable:
    title: str
    how: str
    columns: list[Column]
    lines: list[Line]
    notes: list[str]
    chart: Markup | None


@dataclass(frozen=True)
class DrawsTable:
    """Sets against their random draws. ``summaries``: one sentence a set."""

    summaries: list[str]
    columns: list[str]
    lines: list[Line]


@dataclass(frozen=True)
class BenchmarkSection:
    introduction: list[str]
    tables: list[BenchmarkTable]
    draws: DrawsTable | None
    charts: bool


def benchmark_section(results: Results) -> BenchmarkSection:
    tables = [benchmark_table(results, benchmark) for benchmark in results.benchmarks]
    return BenchmarkSection(
        introduction(results), tables, _draws_table(results), any(table.chart for table in tables)
    )


def benchmark_table(results: Results, benchmark: str) -> BenchmarkTable:
    """Every variant in every language."""
    compared = results.base is not None
    return BenchmarkTable(
        title=heading(results, benchmark),
        how=how_asked(results, benchmark),
        columns=[Column(v.name, _size(v), compared and v.kind != BASE) for v in results.variants],
        lines=[_line(results, benchmark, language, compared) for language in results.languages],
        notes=notes(results, benchmark),
        chart=score_chart(results, benchmark),
    )


def _size(variant: Judged) -> str:
    if variant.kind == BASE:
        return "unchanged"
    neurons = plural(variant.n_neurons, "neuron")
    return f"{neurons}, random" if variant.kind == "control" else neurons


def _line(results: Results, benchmark: str, language: str, compared: bool) -> Line:
    cells = []
    for variant in results.variants:
        cells.append(_score(results.scored(benchmark, language, variant.name)))
        if variant.kind != BASE and compared:
            cells.append(difference(results.verdict(benchmark, language, variant.name)))
    stands_in = any(
        row["stand_in"]
        for v in results.variants
        if (row := results.scores.get((benchmark, language, v.name)))
    )
    return Line(language_name(language), "stand-in" if stands_in else "", cells)


def _score(row: Row | None) -> Cell:
    if row is None:
        return Cell(DASH)
    return Cell(f"{points(row['value']):.1f}", detail=interval_words(row["low"], row["high"], signed=False))


def difference(row: Row | None) -> Cell:
    """Nothing stored is a dash; a comparison that could not be judged says so."""
    if row is None:
        return Cell(DASH)
    mark = MARKS.get(row["verdict"], str(row["verdict"]))
    if row["delta"] is None:
        return Cell(mark, css="quiet")
    css = "firm" if row["verdict"] in ("better", "worse") else "quiet"
    return Cell(signed_points(row["delta"]), mark, interval_words(row["low"], row["high"], signed=True), css)


def interval_words(low: float | None, high: float | None, signed: bool) -> str:
    """``0.1 to 2.3`` in points."""
    if low is None or high is None:
        return "no interval"
    form = signed_points if signed else lambda value: f"{points(value):.1f}"
    return f"{form(low)} to {form(high)}"


def signed_points(fraction: float) -> str:
    """``+1.2``, with a true minus; no sign on zero."""
    value = points(fraction)
    return f"{value:+.1f}".replace("-", "−") if value else "0.0"


def _draws_table(results: Results) -> DrawsTable | None:
    """None when no set was compared with a random draw."""
    summaries, lines = [], []
    for variant in results.variants:
        draws = results.controls_of(variant.name)
        names = {draw.name for draw in draws}
        rows = [row for key, row in results.verdicts.items() if key[2] == variant.name and key[3] in names]
        if not rows:
            continue
        summaries.append(
            f"{variant.name} minus {plural(len(draws), 'random draw')} of its size, over {plural(len(rows), 'comparison')}: "
            f"{tally_words(rows)}."
        )
        for benchmark in results.benchmarks:
            for draw in draws:
                cells = [
                    difference(results.verdict(benchmark, language, variant.name, draw.name))
                    for language in results.languages
                ]
                lines.append(Line(heading(results, benchmark), f"{variant.name} − {draw.name}", cells))
    columns = [language_name(language) for language in results.languages]
    return DrawsTable(summaries, columns, lines) if lines else None
