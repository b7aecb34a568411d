"""The part on benchmarks: a table for each, the sets against their draws, and what a reader must know of the data."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from polyneuron.eval.report.charts.benchmarks import score_chart
from polyneuron.eval.report.numbers.benchmarks import NO_DATA, SAMPLE, Results, points, title_of
from polyneuron.eval.report.numbers.units import Row
from polyneuron.eval.report.numbers.variants import BASE, ShownVariant
from polyneuron.eval.report.words.benchmark_findings import tally
from polyneuron.eval.report.words.wording import DASH, language_name, plural
from polyneuron.eval.tables.grid import Cell, Column, Grid, Line, grid, line
from polyneuron.eval.verdicts.verdict import BETTER, NO_EVIDENCE, NOT_JUDGED, WORSE

MARKS = {BETTER: "▲ better", WORSE: "▼ worse", NO_EVIDENCE: "○ no evidence", NOT_JUDGED: "– not judged"}


def benchmarks_part(results: Results, trained_apart: bool) -> dict[str, Any]:
    """``trained_apart``: trained variants have a part of their own and are not among these."""
    real = results.real
    draws = list(_against_draws(real))
    table = grid(
        "Sets minus random draws",
        ["benchmark", *map(language_name, results.languages)],
        [row for name, variant, controls in draws for row in _draws_lines(real, variant, controls)],
        tone="heat scores",
    )
    return {
        **introduction(real),
        "trained_apart": trained_apart,
        "benchmarks": [shown_benchmark(real, name) for name in real.benchmarks],
        "samples": sample_grid(results) if results.samples else None,
        "draws": [(v.name, len(controls), verdicts) for verdicts, v, controls in draws],
        "draws_table": table,
    }


def sample_grid(results: Results) -> Grid:
    """What the unchanged model scores on benchmarks that are samples, in the languages that have a score."""
    asked = {name: {c: results.scored(name, c) for c in results.languages} for name in results.samples}
    codes = [code for code in results.languages if any(rows[code] for rows in asked.values())]
    rows: list[list[Cell | str]] = [
        [_sample_name(name, scored), *(_sample_score(scored[code]) for code in codes)]
        for name, scored in asked.items()
    ]
    return grid("Samples: points of the unchanged model", ["sample", *map(language_name, codes)], rows)


def _sample_name(name: str, scored: Mapping[str, Row | None]) -> Cell:
    items = {plural(row["n"], "item") for row in scored.values() if row is not None}
    return Cell(text=title_of(name), details=(" or ".join(sorted(items)),))


def _sample_score(row: Row | None) -> Cell:
    return Cell() if row is None else Cell(text=plain_points(row["value"]))


def introduction(results: Results) -> dict[str, Any]:
    """Which data, which engine, and by what differences are judged."""
    rows = [row for row in results.rows() if row["data"] != NO_DATA]
    judged = next(iter(results.verdicts.values()), None)
    return {
        "sources": grouped((row["data"], title_of(row["benchmark"])) for row in rows),
        "engines": list(dict.fromkeys((row["backend"], row["dtype"]) for row in rows)),
        "starts": {row["bos"] for row in rows},
        "changed": bool(results.changed),
        "judged": judged,
        "least": points(judged["min_effect"]) if judged else 0,
        "family": results.family,
    }


def shown_benchmark(results: Results, benchmark: str, after_training: bool = False) -> dict[str, Any]:
    """One benchmark's table, chart, and what a reader must know of it: how it was asked, and notes by kind. ``after_training``:
    the results are of trained variants, not all of which were to be judged in every language."""
    name = heading(results, benchmark)
    title = f"{name} of every trained variant" if after_training else f"Scores on {name}"
    return {
        "title": name,
        "asked": _asked([row for row in results.rows(benchmark) if row["data"] != NO_DATA]),
        "notes": list(_notes(results, benchmark, after_training)),
        "table": benchmark_grid(results, benchmark, title),
        "chart": score_chart(results, benchmark),
    }


def benchmark_grid(results: Results, benchmark: str, title: str) -> Grid:
    """Languages down and variants across: scores, and where they can be compared differences to the base model."""
    compared = results.variants.base is not None
    heads: list[Column | str] = ["language"]
    for variant in results.variants:
        texts = ["score", "− base"] if compared and variant.kind != BASE else ["score"]
        heads += [Column(text=text, over=variant.name, detail=_size(variant)) for text in texts]
    rows = []
    for code in results.languages:
        if not any(results.scored(benchmark, code, variant.name) for variant in results.variants):
            continue
        cells = []
        for variant in results.variants:
            cells.append(_score(results.scored(benchmark, code, variant.name)))
            if compared and variant.kind != BASE:
                cells.append(difference(results.verdict(benchmark, code, variant.name)))
        scores = [results.scores.get((benchmark, code, v.name)) for v in results.variants]
        details = ("stand-in",) if any(row and row["stand_in"] for row in scores) else ()
        rows.append([Cell(text=language_name(code), details=details), *cells])
    return grid(title, heads, rows, tone="heat scores")


def heading(results: Results, benchmark: str) -> str:
    """The benchmark's title, marked where all of its items are samples."""
    sample = results.data(benchmark) == {SAMPLE}
    return f"{title_of(benchmark)} (sample, not the benchmark)" if sample else title_of(benchmark)


def difference(row: Row | None) -> Cell:
    """A verdict; nothing stored is a dash, and a comparison that could not be judged says so."""
    if row is None:
        return Cell(text=DASH)
    mark = MARKS.get(row["verdict"], str(row["verdict"]))
    if row["delta"] is None:
        return Cell(text=mark, tone="quiet")
    tone = "firm" if row["verdict"] in (BETTER, WORSE) else "quiet"
    interval = interval_words(row["low"], row["high"], signed_points)
    return Cell(text=signed_points(row["delta"]), marks=(mark,), details=(interval,), tone=tone)


def interval_words(low: float | None, high: float | None, form: Callable[[float], str]) -> str:
    """``0.1 to 2.3``, or that there is none."""
    return "no interval" if low is None or high is None else f"{form(low)} to {form(high)}"


def plain_points(fraction: float) -> str:
    """A score in points of a hundred: ``21.2``."""
    return f"{points(fraction):.1f}"


def signed_points(fraction: float) -> str:
    """``+1.2``, with a true minus; no sign on zero."""
    value = points(fraction)
    return f"{value:+.1f}".replace("-", "−") if value else "0.0"


def grouped(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    """Each key with its values, each once, in order."""
    found: dict[Any, dict[Any, None]] = {}
    for key, value in pairs:
        found.setdefault(key, {})[value] = None
    return {key: list(values) for key, values in found.items()}


def _size(variant: ShownVariant) -> str:
    if variant.kind == BASE:
        return "unchanged"
    neurons = plural(variant.n_neurons, "neuron")
    return f"{neurons}, random" if variant.kind == "control" else neurons


def _score(row: Row | None) -> Cell:
    if row is None:
        return Cell(text=DASH)
    interval = interval_words(row["low"], row["high"], plain_points)
    return Cell(text=plain_points(row["value"]), details=(interval,))


def _against_draws(results: Results) -> Iterator[tuple[Counter[str], ShownVariant, Sequence[ShownVariant]]]:
    """Each set that was compared with its random draws: the verdicts, the set and the draws."""
    for variant in results.variants:
        draws = results.variants.controls_of(variant.name)
        names = {draw.name for draw in draws}
        rows = [row for key, row in results.verdicts.items() if key[2] == variant.name and key[3] in names]
        if rows:
            yield tally(rows), variant, draws


def _draws_lines(results: Results, variant: ShownVariant, draws: Sequence[ShownVariant]) -> Iterator[Line]:
    for benchmark in results.benchmarks:
        for draw in draws:
            name = Cell(text=heading(results, benchmark), details=(f"{variant.name} − {draw.name}",))
            verdicts = [results.verdict(benchmark, c, variant.name, draw.name) for c in results.languages]
            yield line(name, *map(difference, verdicts))


_ASPECTS: dict[str, Callable[[Row], tuple[Any, ...]]] = {
    "dataset": lambda row: (row["dataset"] or None, row["data"], (row["revision"] or "")[:12]),
    "items": lambda row: (
        row["n"] + row["n_unscored"],
        json.loads(row["settings_json"] or "{}").get("max_items"),
    ),
    "shots": lambda row: (row["n_shots"],),
    "length": lambda row: (row["max_gen_toks"],),
    "metric": lambda row: (row["metric"] if row["metric"] != "none" else None, row["filter"]),
}
"""How a benchmark was asked; where the first value is None, that is not known."""


def _asked(rows: Sequence[Row]) -> dict[str, dict[tuple[Any, ...], list[str]]]:
    """How a benchmark was asked, aspect by aspect, and in which languages so; what is not known is left out."""
    found = {}
    for aspect, values_of in _ASPECTS.items():
        pairs = [(values_of(row), row["language"]) for row in rows]
        found[aspect] = grouped((values, code) for values, code in pairs if values[0] is not None)
    return {aspect: same for aspect, same in found.items() if same}


def _notes(results: Results, benchmark: str, gaps_expected: bool) -> Iterator[tuple[str, Any]]:
    """Stand-ins, missing values and what was left out, each with its reason."""
    rows = results.rows(benchmark)
    for pair in dict.fromkeys((row["language"], row["stand_in"]) for row in rows if row["stand_in"]):
        yield "stand_in", pair
    nulls = ((row["null_reason"], _where(results, row)) for row in rows if row["value"] is None)
    for reason, places in grouped(nulls).items():
        yield "null", (places, reason)
    floor = [row["language"] for row in rows if row["variant"] == BASE and row["value"] == 0]
    if floor and results.changed:
        yield "floor", floor
    stored, n = {(row["language"], row["variant"]) for row in rows}, len(results.variants)
    gaps = {c: sum((c, v.name) not in stored for v in results.variants) for c in results.languages}
    partial = [(code, gap, n) for code, gap in gaps.items() if 0 < gap < n]
    if partial and not gaps_expected:
        yield "gaps", partial
    unscored = [row for row in rows if row["n_unscored"] and row["value"] is not None]
    if unscored:
        found = ((_where(results, r), r["n_unscored"], r["n"] + r["n_unscored"]) for r in unscored)
        yield "unscored", list(dict.fromkeys(found))
    judged = [row for key, row in results.verdicts.items() if key[0] == benchmark and row["reason"]]
    named = ("variant", "baseline", "verdict", "reason")
    for about, codes in grouped((tuple(r[name] for name in named), r["language"]) for r in judged).items():
        yield "judged", (codes, *about)


def _where(results: Results, row: Row) -> tuple[str, str | None]:
    """The language, and the variant unless the gap is in all of them."""
    same = [results.scores.get((row["benchmark"], row["language"], v.name)) for v in results.variants]
    alike = {(r["null_reason"], r["n_unscored"]) for r in same if r is not None}
    return row["language"], None if len(alike) == 1 else row["variant"]
