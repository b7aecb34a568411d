"""Models side by side on benchmarks: the paper's Figures 3 and 5, per benchmark.

Ability is a model's mean score, nothing switched off, over the languages in which every model that took the
benchmark was asked alike: the same data at the same revision, as many items, examples and answer tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup

from polyneuron.eval.report.charts.models import letter_of, scatter, trend_words
from polyneuron.eval.report.numbers.benchmarks import SAMPLE, Results, points, results_of, title_of
from polyneuron.eval.report.numbers.estimates import SCORE, SHARED_RATIO, Estimate, estimate
from polyneuron.eval.report.numbers.study import ModelStudy, Row
from polyneuron.eval.report.words.benchmark_words import SAMPLE_WORDS
from polyneuron.eval.report.words.wording import count, language_name, listing
from polyneuron.eval.tasks.benchmarks import BENCHMARKS

_ALIKE = ("data", "dataset", "revision", "n_shots", "max_gen_toks", "metric", "filter", "task_version")


@dataclass(frozen=True)
class ModelScore:
    """``mean``: points over the languages compared."""

    letter: str
    model: str
    mean: float
    ratio: Estimate | None
    score_ppl: Estimate | None
    score_nll: Estimate | None


@dataclass(frozen=True)
class BenchmarkComparison:
    title: str
    words: str
    points: list[ModelScore]
    ratio_chart: Markup
    score_chart: Markup
    ratio_words: str
    score_words: str


def compare_benchmarks(studies: tuple[ModelStudy, ...]) -> list[BenchmarkComparison]:
    """Those benchmarks for which two or more models have a comparable score, and a ratio or a score of Eq. 6."""
    found = [(i, study, results) for i, study in enumerate(studies) if (results := results_of(study))]
    names = {name for _, _, results in found for name in results.benchmarks}
    compared = [
        _compare(name, found) for name in (*BENCHMARKS, *sorted(names - set(BENCHMARKS))) if name in names
    ]
    return [comparison for comparison in compared if comparison is not None]


def _compare(benchmark: str, found: list[tuple[int, ModelStudy, Results]]) -> BenchmarkComparison | None:
    taken = [(i, study, rows) for i, study, results in found if (rows := _base_rows(results, benchmark))]
    if len(taken) < 2:
        return None
    first = taken[0][2]
    languages = [
        language
        for language in first
        if all(language in rows and _asked(rows[language]) == _asked(first[language]) for *_, rows in taken)
    ]
    if not languages:
        return None
    models = [
        ModelScore(
            letter_of(i),
            study.model,
            sum(points(rows[language]["value"]) for language in languages) / len(languages),
            estimate(study, SHARED_RATIO),
            estimate(study, SCORE["ppl"]),
            estimate(study, SCORE["nll"]),
        )
        for i, study, rows in taken
    ]
    title = title_of(benchmark)
    only_sample = all(first[language]["data"] == SAMPLE for language in languages)
    ratios = [(m.letter, m.ratio.value, m.mean) for m in models if m.ratio and m.ratio.value is not None]
    scores = [
        (m.letter, m.score_nll.value, m.mean) for m in models if m.score_nll and m.score_nll.value is not None
    ]
    if len(ratios) < 2 and len(scores) < 2:
        return None
    axis, better = f"mean {title} score", "better: more points"
    return BenchmarkComparison(
        f"{title} (sample, not the benchmark)" if only_sample else title,
        _words(languages, first),
        models,
        scatter(ratios, "Shared neuron ratio, Eq. 4", axis, better, None),
        scatter(scores, "Language-agnostic score from log perplexity, Eq. 6", axis, better, math.log(2)),
        trend_words([(x, y) for _, x, y in ratios]),
        trend_words([(x, y) for _, x, y in scores]),
    )


def _base_rows(results: Results, benchmark: str) -> dict[str, Row]:
    if results.base is None:
        return {}
    rows = {lang: results.scored(benchmark, lang, results.base.name) for lang in results.languages}
    return {language: row for language, row in rows.items() if row is not None}


def _asked(row: Row) -> tuple[object, ...]:
    return (*(row[name] for name in _ALIKE), row["n"] + row["n_unscored"])


def _words(languages: list[str], rows: dict[str, Row]) -> str:
    items = sum(rows[language]["n"] for language in languages)
    words = (
        f"Mean points over {listing([language_name(language) for language in languages])}, "
        f"{count(items)} items together, nothing switched off."
    )
    stand_ins = [language_name(language) for language in languages if rows[language]["stand_in"]]
    if stand_ins:
        words += f" Stand-ins are counted in: {listing(stand_ins)}."
    if any(rows[language]["data"] == SAMPLE for language in languages):
        words += f" The items {SAMPLE_WORDS}."
    return words
