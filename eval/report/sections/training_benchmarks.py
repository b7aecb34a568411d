"""Table 1 on each benchmark: the trained variants' scores on the language they were trained for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polyneuron.eval.report.numbers.benchmarks import BASE, TUNED, Results, points
from polyneuron.eval.report.numbers.study import Row
from polyneuron.eval.report.numbers.training import Training, twin_of
from polyneuron.eval.report.sections.benchmark_tables import BenchmarkTable, benchmark_table, signed_points
from polyneuron.eval.report.sections.training_tables import (
    Form,
    Outcome,
    TrainedTable,
    trained_languages,
    trained_table,
)
from polyneuron.eval.report.words.benchmark_words import data_words, heading, how_asked, notes, verdict_words

FORM = Form(lambda value: f"{points(value):.1f}", signed_points, "item", "− random")


@dataclass(frozen=True)
class TrainedBenchmark:
    """``everything``: every trained variant in every language."""

    title: str
    how: str
    table: TrainedTable
    notes: list[str]
    everything: BenchmarkTable


@dataclass(frozen=True)
class TrainedBenchmarks:
    introduction: list[str]
    benchmarks: list[TrainedBenchmark]


def trained_part(results: Results) -> Results:
    """The base model and what was trained from it."""
    return results.of_variants(v for v in results.variants if v.kind in (BASE, TUNED))


def untrained_part(results: Results) -> Results:
    """All but the trained variants."""
    rest = [v for v in results.variants if v.kind != TUNED]
    return results.of_variants(rest, trained_apart=len(rest) < len(results.variants))


def trained_benchmarks(results: Results, trainings: Sequence[Training]) -> TrainedBenchmarks | None:
    """None when no trained variant was put to a benchmark. ``results``: the trained part."""
    if not results.changed:
        return None
    introduction = [*data_words(results), *verdict_words(results)]
    return TrainedBenchmarks(introduction, [_benchmark(results, trainings, b) for b in results.benchmarks])


def _benchmark(results: Results, trainings: Sequence[Training], benchmark: str) -> TrainedBenchmark:
    def base(language: str) -> Outcome:
        row = results.scored(benchmark, language, BASE)
        if row is None:
            return Outcome(reason=_why_blank(results, benchmark, language, BASE))
        return Outcome(row["value"], low=row["low"], high=row["high"], n=row["n"])

    def measure(one: Training, language: str) -> Outcome:
        row = results.scored(benchmark, language, one.name)
        if row is None:
            return Outcome(reason=_why_blank(results, benchmark, language, one.name))
        return judged(results.verdict(benchmark, language, one.name), row)

    def against(one: Training, language: str) -> Outcome:
        twin = twin_of(trainings, one)
        if twin is None:
            return Outcome(reason="no random neurons trained")
        return judged(results.verdict(benchmark, language, one.name, twin.name))

    table = trained_table(trainings, trained_languages(trainings), base, measure, against, FORM)
    return TrainedBenchmark(
        heading(results, benchmark),
        how_asked(results, benchmark),
        table,
        notes(results, benchmark, gaps_expected=True),
        benchmark_table(results, benchmark),
    )


def judged(verdict: Row | None, score: Row | None = None) -> Outcome:
    """A stored verdict, beside the variant's own score when it is given."""
    value, n = (score["value"], score["n"]) if score else (None, 0)
    if verdict is None:
        return Outcome(value, n=n, reason="not compared")
    return Outcome(
        value, verdict["delta"], verdict["low"], verdict["high"], verdict["verdict"], verdict["n_pairs"]
    )


def _why_blank(results: Results, benchmark: str, language: str, variant: str) -> str:
    stored = results.scores.get((benchmark, language, variant))
    return "not evaluated" if stored is None else "no value, see below"
