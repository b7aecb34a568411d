"""The sentences on training follow the numbers; what is not shown is said to be so."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyneuron.eval.report.numbers.benchmarks import results_of
from polyneuron.eval.report.numbers.effects import effects_of
from polyneuron.eval.report.numbers.study import read_report
from polyneuron.eval.report.sections.training_benchmarks import trained_part
from polyneuron.eval.report.words.findings import Finding
from polyneuron.eval.report.words.training_findings import training_findings
from polyneuron.eval.store.store import Store
from tests.eval.report.benchmark_rows import add, score, verdict
from tests.eval.report.synthetic import Plan, store_with
from tests.eval.report.training_rows import perplexities, put_mixture, put_rows, steps, tuned_score

PLAN = Plan(languages=("en", "sw"), n_layers=2, n_draws=0, n_sentences=4)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with(tmp_path / "store", PLAN)


def findings(store: Store) -> list[Finding]:
    study = read_report(store).studies[0]
    results = results_of(study)
    return training_findings(study, effects_of(study), trained_part(results) if results else None)


def train(store: Store, strategy: str, ratios: dict[str, float], run_id: str = "run-0001") -> None:
    put_rows(store, "training", steps(strategy, "sw", [3.0, 2.9]), run_id=run_id)
    put_rows(store, "perplexities", perplexities(store, f"tuned-{strategy}-sw", ratios))


def test_a_gain_is_said_with_its_interval_and_what_it_cost(store: Store) -> None:
    train(store, "shared", {"sw": 0.97, "en": 1.05})
    train(store, "random", {"sw": 0.98})
    (found,) = findings(store)
    assert (found.headline, found.tone) == ("Training, held-out perplexity: better in 1 of 1.", "yes")
    assert (
        "Training the shared neurons for Swahili changed held-out perplexity in Swahili by ×0.970 [×0.970, ×0.970]."
        in found.evidence
    )
    assert "Against random neurons trained alike: none worse, 1 better." in found.evidence  # 0.97 / 0.98
    assert "the worst ×1.050 [×1.050, ×1.050] in English (tuned-shared-sw)." in found.evidence
    assert found.evidence.endswith("No trained variant was put to a benchmark.")


def test_no_change_is_a_null_result(store: Store) -> None:
    train(store, "shared", {"sw": 1.0, "en": 1.0})
    (found,) = findings(store)
    assert (found.headline, found.tone) == ("Training, held-out perplexity: no change is shown.", "no")
    assert "No random neurons were trained for comparison." in found.evidence
    assert "In languages not trained for: none worse, none better, 1 no evidence." in found.evidence


def test_benchmarks_without_evidence_are_said_to_show_none(store: Store) -> None:
    train(store, "shared", {"sw": 0.97})
    add(
        store,
        [score("base", "sw", 0.5), tuned_score("shared", "sw", 0.52)],
        [verdict("tuned-shared-sw", "sw", 0.02, "no evidence")],
    )
    found = findings(store)[1]
    assert found.headline == "Training, benchmarks: no benchmark shows evidence of a change."
    assert found.tone == "no"
    assert "over 1 comparison: none worse, none better, 1 no evidence." in found.evidence
    assert "The intervals reach 5.0 points" in found.evidence
    assert "They were not compared with random neurons trained alike." in found.evidence


def test_only_the_language_trained_for_counts(store: Store) -> None:
    train(store, "shared", {"sw": 0.97})
    scores = [score("base", lang, 0.5) for lang in ("en", "sw")]
    scores += [tuned_score("shared", "sw", 0.6), tuned_score("shared", "sw", 0.1, "en")]
    add(
        store,
        scores,
        [
            verdict("tuned-shared-sw", "sw", 0.1, "better"),
            verdict("tuned-shared-sw", "en", -0.4, "worse"),
        ],
    )
    assert findings(store)[1].headline == "Training, benchmarks: better in 1 of 1."


def test_scores_of_samples_are_no_finding(store: Store) -> None:
    train(store, "shared", {"sw": 0.97})
    scores = [score("base", "sw", 0.5, data="sample"), tuned_score("shared", "sw", 0.6, data="sample")]
    add(store, scores, [verdict("tuned-shared-sw", "sw", 0.1, "better")])
    found = findings(store)[1]
    assert found.headline == "The benchmark scores of trained variants are no finding."
    assert found.tone == "note"


def test_the_embedded_sample_shows_mechanics(store: Store) -> None:
    put_mixture(store, "embedded")
    train(store, "shared", {"sw": 0.97}, run_id="run-0002")
    (found,) = findings(store)
    assert (found.headline, found.tone) == ("Training shows mechanics here, not gains.", "note")
    assert "can teach a model nothing" in found.evidence and "×0.970" in found.evidence


def test_without_perplexity_the_page_says_so(store: Store) -> None:
    put_rows(store, "training", steps("shared", "sw", [3.0]))
    (found,) = findings(store)
    assert found.headline == "What training did to held-out perplexity was not measured."
