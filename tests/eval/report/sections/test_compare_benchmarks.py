"""The paper's Figures 3 and 5 against benchmark scores: only what was asked alike, and no trend from few models."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyneuron.eval.report.charts.models import trend_words
from polyneuron.eval.report.numbers.study import read_report
from polyneuron.eval.report.page import render
from polyneuron.eval.report.sections.compare_benchmarks import compare_benchmarks
from polyneuron.eval.store.store import Store
from tests.eval.report.benchmark_rows import add, score
from tests.eval.report.synthetic import Plan, store_with


@pytest.fixture
def store(tmp_path: Path) -> Store:
    plans = [
        Plan(model=f"m{i}", languages=("en", "sw"), n_layers=2, seed=i, n_draws=0, n_sentences=4)
        for i in range(2)
    ]
    return store_with(tmp_path, *plans)


def test_the_mean_is_over_languages_asked_alike(store: Store) -> None:
    add(store, [score("base", "en", 0.5, model="m0"), score("base", "sw", 0.3, model="m0")])
    add(store, [score("base", "en", 0.6, model="m1"), score("base", "sw", 0.9, model="m1", n_shots=0)])
    (found,) = compare_benchmarks(read_report(store).studies)
    assert [(p.letter, p.mean) for p in found.points] == [("A", 50.0), ("B", 60.0)]
    assert found.words.startswith("Mean points over English, 50 items together")
    assert "mean MMMLU score" in found.ratio_chart and "equal worth" in found.score_chart
    page = render(read_report(store), "t")
    assert "paper A, Figure 5" in page and "are under <a" in page and "Those follow below" in page


def test_a_sample_is_called_one_here_too(store: Store) -> None:
    add(store, [score("base", "en", 0.5, model=f"m{i}", data="sample") for i in range(2)])
    (found,) = compare_benchmarks(read_report(store).studies)
    assert "say nothing about the model’s ability" in found.words


def test_one_model_with_scores_is_no_comparison(store: Store) -> None:
    add(store, [score("base", "en", 0.5, model="m0"), score("base", "en", None, model="m1")])
    assert compare_benchmarks(read_report(store).studies) == []
    page = render(read_report(store), "t")
    assert "no benchmark scores that two models can be compared by" in page
    assert "they need two or more models" in page


def test_ties_share_their_rank() -> None:
    assert trend_words([(1, 0.0), (2, 0.0), (3, 1.0), (4, 1.0), (5, 2.0)]).endswith(": 0.95.")
    assert "alike" in trend_words([(float(i), 0.0) for i in range(5)])
