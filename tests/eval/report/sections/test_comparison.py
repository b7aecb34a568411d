"""Models side by side: the unit that may be compared, only what was asked alike, and no trend from few points."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.variants import Variants
from polyneuron.eval.report.page import render
from polyneuron.eval.report.sections.comparison import benchmark_comparisons, comparison, rank_correlation
from polyneuron.eval.report.words.wording import number
from polyneuron.eval.store.store import Store
from tests.eval.report.benchmark_rows import add, score
from tests.eval.report.grids import rows_of
from tests.eval.report.synthetic import Plan, store_with, studied

PLANS = [
    Plan(model=f"m{i}", languages=("en", "sw"), n_layers=2, seed=i, n_draws=0, n_sentences=4)
    for i in range(2)
]


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> tuple[ShownStudy, ...]:
    return studied(store_with(tmp_path_factory.mktemp("store"), *PLANS)).studies


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with(tmp_path, *PLANS)


def test_one_model_is_not_a_comparison(studies: tuple[ShownStudy, ...]) -> None:
    assert comparison(studies[:1]) is None


def test_same_text_is_compared_per_sentence(studies: tuple[ShownStudy, ...]) -> None:
    figures = comparison(studies)
    assert figures is not None and figures["about"] == {"same_text": True, "unit": "bits per sentence"}
    base = studies[0].variants.base
    assert base is not None
    by_hand = sum(nats.sum() / len(nats) for _, nats, _ in base.nll.values()) / 2 / math.log(2)
    assert figures["trends"]["ratio"] == (2, None)  # too few for a rank correlation
    assert list(rows_of(figures["table"])) == ["A · m0", "B · m1"]
    assert rows_of(figures["table"])["A · m0"][0] == number(by_hand, 4)


def test_other_text_is_compared_per_token(studies: tuple[ShownStudy, ...]) -> None:
    corpora = [row | {"sha": "else"} for row in studies[1].rows["corpora"]]
    rows = {**studies[1].rows, "corpora": corpora}
    other = dataclasses.replace(studies[1], rows=rows)
    figures = comparison((studies[0], other))
    assert figures is not None and figures["about"] == {"same_text": False, "unit": "bits per token"}


def test_fewer_bits_are_better(studies: tuple[ShownStudy, ...]) -> None:
    def model(i: int) -> ShownStudy:
        base = studies[0].variants.base
        assert base is not None
        nll = {code: (s, n * (10 - i), t) for code, (s, n, t) in base.nll.items()}
        ratio = {"metric": "shared_ratio", "language": None, "value": float(i)}
        ratio |= dict.fromkeys(("low", "high", "null_reason"))
        variants = Variants([dataclasses.replace(base, nll=nll)])
        return dataclasses.replace(
            studies[0], rows={**studies[0].rows, "metrics": [ratio]}, variants=variants
        )

    figures = comparison([model(i) for i in range(1, 6)])
    assert figures is not None
    assert figures["trends"]["ratio"] == (5, pytest.approx(1.0))


def test_ties_share_their_rank() -> None:
    assert rank_correlation([(1, 0.0), (2, 0.0), (3, 1.0), (4, 1.0), (5, 2.0)]) == pytest.approx(0.9486833)
    assert rank_correlation([(float(i), 0.0) for i in range(5)]) is None


def test_the_mean_is_over_languages_asked_alike(store: Store) -> None:
    add(store, [score("base", "en", 0.5, model="m0"), score("base", "sw", 0.3, model="m0")])
    add(store, [score("base", "en", 0.6, model="m1"), score("base", "sw", 0.9, model="m1", n_shots=0)])
    report = studied(store)
    (figures,) = benchmark_comparisons(report.studies)
    assert {name: row[0] for name, row in rows_of(figures["table"]).items()} == {
        "A · m0": "50.0",
        "B · m1": "60.0",
    }
    assert (figures["about"]["languages"], figures["about"]["n_items"]) == (["en"], 50)
    assert "MMMLU" in figures["charts"]["ratio"] and 'class="reference"' in figures["charts"]["score"]
    assert 'href="#models"' in render(report, "t").split("m0-benchmarks", 2)[-1]


def test_a_sample_is_called_one_here_too(store: Store) -> None:
    add(store, [score("base", "en", 0.5, model=f"m{i}", data="sample") for i in range(2)])
    (figures,) = benchmark_comparisons(studied(store).studies)
    assert figures["about"]["sampled"] is True and figures["about"]["title"] != "MMMLU"


def test_one_model_with_scores_is_no_comparison(store: Store) -> None:
    add(store, [score("base", "en", 0.5, model="m0"), score("base", "en", None, model="m1")])
    assert benchmark_comparisons(studied(store).studies) == []
