"""Findings on benchmarks: one for each kind of set, and none from samples."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyneuron.eval.report.numbers.benchmarks import results_of
from polyneuron.eval.report.words.benchmark_findings import benchmark_findings
from polyneuron.eval.report.words.findings import Finding
from polyneuron.eval.store.store import Store
from tests.eval.report.benchmark_rows import add, score, usual, usual_verdicts, verdict
from tests.eval.report.synthetic import Plan, store_with, studied


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with(tmp_path / "store", Plan(languages=("en", "sw"), n_layers=2, n_draws=0, n_sentences=4))


def findings(store: Store) -> list[Finding]:
    results = results_of(studied(store).studies[0])
    assert results is not None
    return benchmark_findings(results)


def test_each_kind_of_set_is_judged_against_the_base_and_its_draws(store: Store) -> None:
    add(store, usual(), usual_verdicts())
    shared, exclusive = findings(store)
    assert (shared.tone, shared.values) == (
        "yes",
        {
            "set": "shared",
            "verdicts": {"worse": 2},
            "reach": 5.0,
            "n_draws": 2,
            "against": {"worse": 4},
            "some_samples": False,
        },
    )
    assert (exclusive.tone, exclusive.values["verdicts"]) == ("no", {"no evidence": 2})
    assert exclusive.values["against"] == {}


def test_what_was_not_judged_does_not_count(store: Store) -> None:
    scores = [score(name, lang, 0.5) for name in ("base", "shared") for lang in ("en", "sw")]
    verdicts = [verdict("shared", "en", -0.1, "worse"), verdict("shared", "sw", None, "not judged")]
    add(store, scores, verdicts)
    (shared,) = findings(store)
    assert (shared.tone, shared.values["verdicts"]) == ("yes", {"worse": 1, "not judged": 1})


@pytest.mark.parametrize(("kind", "kinds"), [("sample", ["benchmark_samples"]), ("hub", ["benchmarks"] * 2)])
def test_scores_of_samples_are_no_finding(store: Store, kind: str, kinds: list[str]) -> None:
    add(store, usual(data=kind), usual_verdicts())
    assert [finding.kind for finding in findings(store)] == kinds


def test_samples_beside_real_data_are_owned_up_to(store: Store) -> None:
    add(store, usual() + usual(benchmark="xnli", data="sample"), usual_verdicts())
    assert all(finding.values["some_samples"] for finding in findings(store))
