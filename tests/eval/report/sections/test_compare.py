"""Models side by side: the unit that may be compared, and no trend from few points."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from polyneuron.eval.report.numbers.study import ModelStudy, read_report
from polyneuron.eval.report.sections.compare import compare
from tests.eval.report.synthetic import Plan, store_with


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelStudy, ...]:
    root: Path = tmp_path_factory.mktemp("store")
    plans = [Plan(model=f"m{i}", languages=("en", "sw"), n_layers=2, seed=i, n_draws=0) for i in range(2)]
    return read_report(store_with(root, *plans)).studies


def test_one_model_is_not_a_comparison(studies: tuple[ModelStudy, ...]) -> None:
    assert compare(studies[:1]) is None


def test_same_text_is_compared_per_sentence(studies: tuple[ModelStudy, ...]) -> None:
    result = compare(studies)
    assert result is not None and result.unit == "bits per sentence"
    base = studies[0].of_kind("base")[0]
    by_hand = sum(nats.sum() / len(nats) for _, nats, _ in base.nll.values()) / 2 / math.log(2)
    assert result.points[0].bits == pytest.approx(by_hand)
    assert "too few for a trend" in result.ratio_words


def test_other_text_is_compared_per_token_with_a_warning(studies: tuple[ModelStudy, ...]) -> None:
    other = dataclasses.replace(studies[1], corpora=[row | {"sha": "else"} for row in studies[1].corpora])
    result = compare((studies[0], other))
    assert result is not None and result.unit == "bits per token"
    assert "tokenizers" in result.caveat


def test_rank_correlation_counts_fewer_bits_as_better(studies: tuple[ModelStudy, ...]) -> None:
    def model(i: int) -> ModelStudy:
        variant = studies[0].of_kind("base")[0]
        nll = {k: (s, n * (10 - i), t) for k, (s, n, t) in variant.nll.items()}
        ratio = {
            "metric": "shared_ratio",
            "language": None,
            "value": float(i),
            "low": None,
            "high": None,
            "null_reason": None,
        }
        return dataclasses.replace(
            studies[0], metrics=[ratio], variants=(dataclasses.replace(variant, nll=nll),)
        )

    result = compare(tuple(model(i) for i in range(1, 6)))
    assert result is not None and result.ratio_words.endswith(": 1.00.")
