"""Perplexity of trained variants against values worked out by hand."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from polyneuron.eval.report.numbers.effects import Effect, effects_of
from polyneuron.eval.report.numbers.study import ModelStudy, read_report
from polyneuron.eval.report.numbers.variants import Variant
from polyneuron.eval.report.sections.training_perplexity import (
    TrainedPerplexity,
    against_random,
    trained_perplexity,
    verdict_of,
)
from tests.eval.report.synthetic import Plan, store_with
from tests.eval.report.training_rows import put_rows, steps


def losses(name: str, nats_a_token: dict[str, float], kind: str = "tuned") -> Variant:
    """Three sentences of 2, 3 and 5 tokens, each with the same nats per token."""
    tokens = np.array([2.0, 3.0, 5.0])
    return Variant(
        name,
        kind,
        None,
        None,
        None,
        3,
        {k: (np.arange(3), v * tokens, tokens) for k, v in nats_a_token.items()},
    )


@pytest.fixture
def study(tmp_path: Path) -> ModelStudy:
    """Base perplexity 100; shared ×0.8 in Swahili, ×1.2 in English; random ×0.9 in Swahili; Thai not measured."""
    store = store_with(tmp_path / "s", Plan(languages=("en", "sw", "th"), n_layers=2, n_draws=0))
    put_rows(store, "training", steps("shared", "sw", [3.0]) + steps("random", "sw", [3.0]))
    base = math.log(100)
    variants = (
        losses("base", {"en": base, "sw": base}, "base"),
        losses("tuned-shared-sw", {"en": base + math.log(1.2), "sw": base + math.log(0.8)}),
        losses("tuned-random-sw", {"sw": base + math.log(0.9)}),
    )
    return dataclasses.replace(read_report(store).studies[0], variants=variants)


def found(study: ModelStudy) -> TrainedPerplexity:
    perplexity = trained_perplexity(study, effects_of(study))
    assert perplexity is not None
    return perplexity


def test_the_table_has_perplexities_and_multiples(study: ModelStudy) -> None:
    base, shared, against, random = found(study).table.lines
    assert base.cells[0].text == "100" and base.cells[0].details == ("3 sentences",)
    assert (shared.cells[0].text, shared.cells[0].change) == ("80.0", "×0.800")
    assert (shared.cells[0].marks, shared.cells[0].details[1]) == (("▲ better",), "3 sentences")
    assert against.cells[0].text == "×0.889"  # 0.8 / 0.9
    assert random.cells[0].change == "×0.900"


def test_the_average_is_geometric(study: ModelStudy, tmp_path: Path) -> None:
    store = store_with(tmp_path / "two", Plan(languages=("en", "sw"), n_layers=2, n_draws=0))
    put_rows(store, "training", steps("shared", "sw", [3.0]) + steps("shared", "en", [3.0]))
    base = math.log(100)
    variants = (
        losses("base", {"en": base, "sw": base}, "base"),
        losses("tuned-shared-sw", {"sw": base + math.log(0.5)}),
        losses("tuned-shared-en", {"en": base + math.log(2)}),
    )
    two = dataclasses.replace(read_report(store).studies[0], variants=variants)
    assert found(two).table.lines[1].cells[-1].text == "×1.000"


def test_the_matrix_shows_what_broke_and_what_is_missing(study: ModelStudy) -> None:
    matrix = found(study)
    assert matrix.languages == ["English", "Swahili"]
    shared, random = matrix.matrix
    english, swahili = shared.cells
    assert (english.text, english.mark, english.shade, english.own) == ("×1.200", "▼ worse", 1, False)
    assert (swahili.text, swahili.mark, swahili.own) == ("×0.800", "▲ better", True)
    assert (random.cells[0].text, random.cells[0].detail) == ("", "not measured")
    assert shared.remark == "for Swahili"


def test_random_is_compared_on_the_same_sentences(study: ModelStudy) -> None:
    shared, random = study.trainings
    effect = against_random(study, shared, "sw")
    assert effect is not None and effect.times == pytest.approx(8 / 9)
    assert against_random(study, shared, "en") is None and against_random(study, random, "sw") is None


def test_without_a_base_there_is_no_table(study: ModelStudy) -> None:
    bare = dataclasses.replace(study, variants=study.variants[1:])
    assert trained_perplexity(bare, effects_of(bare)) is None
    unmeasured = dataclasses.replace(study, variants=study.variants[:1])
    assert trained_perplexity(unmeasured, effects_of(unmeasured)) is None


@pytest.mark.parametrize(
    ("low", "high", "n", "verdict"),
    [
        (0.9, 0.99, 20, "better"),
        (1.01, 1.1, 20, "worse"),
        (0.9, 1.1, 20, "no evidence"),
        (1.0 + 1e-13, 1.0 + 1e-13, 20, "no evidence"),
        (0.9, 0.9, 1, "not judged"),
    ],
)
def test_a_verdict_needs_an_interval_that_leaves_one_out(
    low: float, high: float, n: int, verdict: str
) -> None:
    assert verdict_of(Effect(10.0, (low + high) / 2, low, high, n)) == verdict
