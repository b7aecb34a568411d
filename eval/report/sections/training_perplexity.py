"""Held-out perplexity of trained variants: on the language they were trained for, and on all the others.

Ratios of perplexities are averaged as logarithms, so their mean is the geometric one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polyneuron.eval.report.charts.effects import shade
from polyneuron.eval.report.numbers.effects import Effect, Effects, effect_between
from polyneuron.eval.report.numbers.study import ModelStudy
from polyneuron.eval.report.numbers.training import Training, several_seeds, twin_of
from polyneuron.eval.report.sections.benchmark_tables import MARKS
from polyneuron.eval.report.sections.training_tables import (
    Form,
    Outcome,
    TrainedTable,
    trained_languages,
    trained_table,
)
from polyneuron.eval.report.words.wording import fine_times, language_name, listing, number

FORM = Form(
    lambda nats: number(math.exp(nats)), lambda nats: fine_times(math.exp(nats)), "sentence", "÷ random"
)
_ROUNDING = 1e-9
"""A variant that equals the other must not differ by the rounding of sums."""


@dataclass(frozen=True)
class MatrixCell:
    """``own``: the variant was trained for this language. ``shade``: 0 (about as before) to 6."""

    text: str
    mark: str
    detail: str
    shade: int
    own: bool


@dataclass(frozen=True)
class MatrixLine:
    name: str
    remark: str
    cells: list[MatrixCell]


@dataclass(frozen=True)
class TrainedPerplexity:
    table: TrainedTable
    languages: list[str]
    matrix: list[MatrixLine]


def trained_perplexity(study: ModelStudy, effects: Effects | None) -> TrainedPerplexity | None:
    """None when no trained variant was measured beside the base model."""
    trainings = study.trainings
    if effects is None or not any(effects.by.get(one.name) for one in trainings):
        return None

    def base(language: str) -> Outcome:
        if language not in effects.base:
            return Outcome(reason="not measured")
        nats = study.of_kind("base")[0].nll[language][1]
        return Outcome(math.log(effects.base[language]), n=int((~np.isnan(nats)).sum()))

    def measure(one: Training, language: str) -> Outcome:
        effect = effects.of(one.name, language)
        return Outcome(reason="not measured") if effect is None else _outcome(effect, math.log(effect.ppl))

    def against(one: Training, language: str) -> Outcome:
        effect = against_random(study, one, language)
        return Outcome(reason="no random neurons trained") if effect is None else _outcome(effect)

    languages = [code for code in study.languages if code in effects.base]
    return TrainedPerplexity(
        trained_table(trainings, trained_languages(trainings), base, measure, against, FORM),
        [language_name(code) for code in languages],
        [_line(one, languages, effects, several_seeds(trainings)) for one in trainings],
    )


def against_random(study: ModelStudy, one: Training, language: str) -> Effect | None:
    """Perplexity of a variant over that of the random neurons trained alike, on the same sentences."""
    twin = twin_of(study.trainings, one)
    own = study.variant(one.name)
    other = None if twin is None else study.variant(twin.name)
    return None if own is None or other is None else effect_between(other, own, language)


def verdict_of(effect: Effect) -> str:
    """Whether the 95% interval leaves ×1 out; a single sentence has no interval."""
    if effect.n_sentences < 2:
        return "not judged"
    if effect.high < 1 - _ROUNDING:
        return "better"
    return "worse" if effect.low > 1 + _ROUNDING else "no evidence"


def _outcome(effect: Effect, value: float | None = None) -> Outcome:
    change, low, high = (_log(number) for number in (effect.times, effect.low, effect.high))
    return Outcome(value, change, low, high, verdict_of(effect), effect.n_sentences)


def _log(ratio: float) -> float:
    return math.log(ratio) if ratio > 0 else -math.inf


def _line(one: Training, languages: Sequence[str], effects: Effects, seeds: bool) -> MatrixLine:
    trained_for = f"for {listing([language_name(code) for code in one.languages])}"
    remark = f"{trained_for}, seed {one.seed}" if seeds else trained_for
    return MatrixLine(one.strategy, remark, [_matrix_cell(one, code, effects) for code in languages])


def _matrix_cell(one: Training, language: str, effects: Effects) -> MatrixCell:
    own, effect = language in one.languages, effects.of(one.name, language)
    if effect is None:
        return MatrixCell("", "", "not measured", 0, own)
    interval = f"{fine_times(effect.low)} to {fine_times(effect.high)}"
    return MatrixCell(fine_times(effect.times), MARKS[verdict_of(effect)], interval, shade(effect.times), own)
