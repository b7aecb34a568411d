"""What is said of other methods: the numbers in the sentences, and nulls as nulls."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyneuron.eval.report.numbers.study import read_report
from polyneuron.eval.report.words.findings import Finding
from polyneuron.eval.report.words.method_findings import method_findings
from polyneuron.eval.store.store import Store
from tests.eval.report.method_rows import Members, put_changes, put_detector, put_overlaps
from tests.eval.report.synthetic import Plan, store_with

PLAN = Plan(languages=("en", "sw"), n_layers=2, n_draws=0, n_sentences=4)
LAPE: Members = {"en": [(0, 1), (0, 2)], "sw": [(0, 1), (0, 2)]}
POOLED: Members = {"en": [(0, 1), (0, 9)], "sw": [(0, 1), (0, 2)]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with(tmp_path / "store", PLAN)


def findings(store: Store, without_impacts: bool = False) -> list[Finding]:
    others = read_report(store).studies[0].others
    if others is not None and without_impacts:
        for key in [key for key in others.overlaps if key[0].startswith("impact")]:
            del others.overlaps[key]
    return method_findings(others)


def put(store: Store, **detectors: Members) -> None:
    for name, members in detectors.items():
        put_detector(store, PLAN, name, members)
    put_overlaps(store, PLAN, detectors)


def test_nothing_is_said_without_detectors(store: Store) -> None:
    assert findings(store) == []


def test_agreement_names_the_jaccard_and_times_chance(store: Store) -> None:
    """English shares one of 2 and 2 of 64 (as chance), Swahili both: 2 / 0.0625 = 32 times chance."""
    put(store, lape=LAPE, act_prob_pooled=POOLED)
    agreement, _ = findings(store, without_impacts=True)
    assert agreement.headline == (
        "Methods share more of a language’s neurons than chance in 1 of 2 comparisons, with a Jaccard of at most 1.00."
    )
    assert agreement.tone == "mixed"
    assert agreement.evidence.startswith(
        "LAPE and Act-Prob-90p (pooled) share J=1.000 of their Swahili neurons, 32 times chance, the highest multiple "
        "(above chance in 1 and as chance in 1 of 2 languages). Chance: random sets"
    )


def test_no_agreement_is_a_null(store: Store) -> None:
    put(store, lape=LAPE, act_prob_pooled={"en": [(0, 8)], "sw": [(0, 8)]})
    agreement, _ = findings(store, without_impacts=True)
    assert agreement.headline == (
        "No two methods share more of a language’s neurons than chance, in 2 comparisons."
    )
    assert agreement.tone == "no"
    assert "share no neuron in any language (as chance in 2 of 2 languages)" in agreement.evidence


def test_nothing_to_compare_is_no_null(store: Store) -> None:
    put(store, lape=LAPE, act_prob_pooled={"en": [], "sw": []})
    agreement, _ = findings(store, without_impacts=True)
    assert agreement.headline == "Whether the methods agree on neurons could not be judged."
    assert agreement.tone == "note"


def test_the_degenerate_method_and_the_related_sets_are_not_tallied(store: Store) -> None:
    put(store, lape=LAPE, act_prob=LAPE, act_prob_pooled=POOLED)
    agreement, _ = findings(store)
    # exclusive with LAPE and the pooled form, and those two, in two languages
    assert "of 6 comparisons" in agreement.headline
    assert (
        "impact (related)" not in agreement.evidence and "LAPE and impact (exclusive)" in agreement.evidence
    )
    assert "Act-Prob-90p (as published) is not counted here" in agreement.evidence


def test_perplexity_counts_what_random_neurons_do_not_do(store: Store) -> None:
    put(store, lape=LAPE, act_prob_pooled=POOLED)
    hurt = {"en": {"en": 1.1, "sw": 1.0}, "sw": {"en": 1.0, "sw": 1.5}}
    put_changes(store, PLAN, "lape", hurt, {"en": 1.1, "sw": 1.1})
    _, perplexity = findings(store)
    assert perplexity.headline == (
        "Switching off a language’s neurons that other methods find costs that language more than random neurons in "
        "1 of 2 cases."
    )
    assert perplexity.tone == "mixed"
    assert perplexity.evidence == (
        "LAPE: perplexity of the language itself ×1.100 (English) to ×1.500 (Swahili), more than random in 1 of 2; the "
        "language itself changes more than the mean of the others in 2 of 2. Act-Prob-90p (pooled): not measured. "
        "1 random draw a set is too few to show their spread."
    )


def test_no_effect_is_a_null_and_no_measurement_is_none(store: Store) -> None:
    put(store, lape=LAPE)
    assert findings(store)[1].tone == "note" and "could not be judged" in findings(store)[1].headline
    put_changes(store, PLAN, "lape", {"sw": {"en": 1.1, "sw": 1.1}}, {"sw": 1.1})
    perplexity = findings(store)[1]
    assert perplexity.tone == "no" and perplexity.headline.endswith(
        "is not shown to cost that language more than random neurons."
    )
    assert perplexity.evidence == (
        "LAPE: perplexity of the language itself ×1.100 (Swahili), more than random in 0 of 1; the language itself changes "
        "more than the mean of the others in 0 of 1. 1 random draw a set is too few to show their spread."
    )
