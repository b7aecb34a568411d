"""Findings on training follow the numbers; what is not shown is found to be so."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyneuron.eval.report.numbers.benchmarks import results_of
from polyneuron.eval.report.numbers.effects import effects_of
from polyneuron.eval.report.numbers.trained_effects import trained_effects
from polyneuron.eval.report.words.findings import Finding
from polyneuron.eval.report.words.training_findings import training_findings
from polyneuron.eval.store.store import Store
from tests.eval.report.benchmark_rows import add, score, verdict
from tests.eval.report.synthetic import Plan, store_with, studied
from tests.eval.report.training_rows import perplexities, put_mixture, put_rows, steps, tuned_score

PLAN = Plan(languages=("en", "sw"), n_layers=2, n_draws=0, n_sentences=12)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with(tmp_path / "store", PLAN)


def findings(store: Store) -> list[Finding]:
    study = studied(store).studies[0]
    results = results_of(study)
    return training_findings(
        study,
        trained_effects(study, effects_of(study.variants)),
        results.of_training(True) if results else None,
    )


def train(store: Store, strategy: str, ratios: dict[str, float], run_id: str = "run-0001") -> None:
    put_rows(store, "training", steps(strategy, "sw", [3.0, 2.9]), run_id=run_id)
    put_rows(store, "perplexities", perplexities(store, f"tuned-{strategy}-sw", ratios))


def test_a_gain_is_said_with_its_interval_and_what_it_cost(store: Store) -> None:
    train(store, "shared", {"sw": 0.97, "en": 1.05})
    train(store, "random-shared", {"sw": 0.98})
    train(store, "random-exclusive", {"sw": 0.5})  # as many as another set: no twin of this one
    (found,) = findings(store)
    assert (found.kind, found.tone, found.values["verdicts"]) == ("training_perplexity", "yes", {"better": 1})
    ((training, code, effect),) = found.values["measured"]
    assert (training.strategy, code) == ("shared", "sw")
    assert (effect.low, effect.times, effect.high) == pytest.approx((0.97, 0.97, 0.97))
    assert found.values["twins"] == {"better": 1}  # 0.97 / 0.98
    training, code, effect = found.values["worst"]
    assert (training.name, code, effect.times) == ("tuned-shared-sw", "en", pytest.approx(1.05))
    assert (found.values["judged"], found.values["more"]) == (False, 0)


def test_no_change_is_a_null_result(store: Store) -> None:
    train(store, "shared", {"sw": 1.0, "en": 1.0})
    (found,) = findings(store)
    assert (found.tone, found.values["verdicts"]) == ("no", {"no evidence": 1})
    assert found.values["twins"] == {} and found.values["others"] == {"no evidence": 1}


def test_benchmarks_without_evidence_are_said_to_show_none(store: Store) -> None:
    train(store, "shared", {"sw": 0.97})
    add(
        store,
        [score("base", "sw", 0.5), tuned_score("shared", "sw", 0.52)],
        [verdict("tuned-shared-sw", "sw", 0.02, "no evidence")],
    )
    found = findings(store)[1]
    assert (found.kind, found.tone) == ("training_benchmarks", "no")
    assert found.values == {
        "verdicts": {"no evidence": 1},
        "reach": 5.0,
        "twins": {},
        "some_samples": False,
    }


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
    assert findings(store)[1].values["verdicts"] == {"better": 1}


def test_scores_of_samples_are_no_finding(store: Store) -> None:
    train(store, "shared", {"sw": 0.97})
    scores = [score("base", "sw", 0.5, data="sample"), tuned_score("shared", "sw", 0.6, data="sample")]
    add(store, scores, [verdict("tuned-shared-sw", "sw", 0.1, "better")])
    found = findings(store)[1]
    assert (found.kind, found.tone) == ("training_samples", "note")


def test_the_embedded_sample_shows_mechanics(store: Store) -> None:
    put_mixture(store, "embedded")
    train(store, "shared", {"sw": 0.97}, run_id="run-0002")
    (found,) = findings(store)
    assert (found.kind, found.tone) == ("training_mechanics", "note")
    assert [inner.kind for inner in found.values["findings"]] == ["training_perplexity"]


def test_without_perplexity_the_page_says_so(store: Store) -> None:
    put_rows(store, "training", steps("shared", "sw", [3.0]))
    (found,) = findings(store)
    assert (found.kind, found.tone) == ("training_perplexity_unmeasured", "note")
