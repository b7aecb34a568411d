"""What is found of other methods: the numbers that the sentences have, and nulls as nulls."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyneuron.eval.report.words.findings import Finding
from polyneuron.eval.report.words.method_findings import method_findings
from polyneuron.eval.store.store import Store
from tests.eval.report.method_rows import Members, put_changes, put_detector, put_overlaps
from tests.eval.report.synthetic import Plan, store_with, studied

PLAN = Plan(languages=("en", "sw"), n_layers=2, n_draws=0, n_sentences=4)
LAPE: Members = {"en": [(0, 1), (0, 2)], "sw": [(0, 1), (0, 2)]}
POOLED: Members = {"en": [(0, 1), (0, 9)], "sw": [(0, 1), (0, 2)]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with(tmp_path / "store", PLAN)


def findings(store: Store, without_impacts: bool = False) -> list[Finding]:
    others = studied(store).studies[0].others
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
    assert (agreement.kind, agreement.tone) == ("agreement", "mixed")
    assert agreement.values == {
        "verdicts": {"above": 1, "within": 1},
        "jaccard": 1.0,
        "pairs": [
            {
                "names": ["LAPE", "Act-Prob-90p (pooled)"],
                "verdicts": {"above": 1, "within": 1},
                "n": 2,
                "language": "sw",
                "jaccard": 1.0,
                "ratio": pytest.approx(32),
            }
        ],
        "left_out": None,
    }


def test_no_agreement_is_a_null(store: Store) -> None:
    put(store, lape=LAPE, act_prob_pooled={"en": [(0, 8)], "sw": [(0, 8)]})
    agreement, _ = findings(store, without_impacts=True)
    assert (agreement.tone, agreement.values["verdicts"]) == ("no", {"within": 2})
    assert agreement.values["pairs"][0]["ratio"] == 0


def test_nothing_to_compare_is_no_null(store: Store) -> None:
    put(store, lape=LAPE, act_prob_pooled={"en": [], "sw": []})
    agreement, _ = findings(store, without_impacts=True)
    assert (agreement.kind, agreement.tone) == ("agreement_unjudged", "note")


def test_the_degenerate_method_and_the_related_sets_are_not_tallied(store: Store) -> None:
    put(store, lape=LAPE, act_prob=LAPE, act_prob_pooled=POOLED)
    agreement, _ = findings(store)
    # exclusive with LAPE and the pooled form, and those two, in two languages
    assert agreement.values["verdicts"].total() == 6
    assert [pair["names"] for pair in agreement.values["pairs"]] == [
        ["LAPE", "impact (exclusive)"],
        ["Act-Prob-90p (pooled)", "impact (exclusive)"],
        ["LAPE", "Act-Prob-90p (pooled)"],
    ]
    assert agreement.values["left_out"] == "Act-Prob-90p (as published)"


def test_perplexity_counts_what_random_neurons_do_not_do(store: Store) -> None:
    put(store, lape=LAPE, act_prob_pooled=POOLED)
    hurt = {"en": {"en": 1.1, "sw": 1.0}, "sw": {"en": 1.0, "sw": 1.5}}
    put_changes(store, PLAN, "lape", hurt, {"en": 1.1, "sw": 1.1})
    _, perplexity = findings(store)
    assert (perplexity.tone, perplexity.values["above"], perplexity.values["n"]) == ("mixed", 1, 2)
    lape = perplexity.values["detectors"]["LAPE"]
    assert lape == {
        "least": ("en", pytest.approx(1.1)),
        "most": ("sw", pytest.approx(1.5)),
        "verdicts": {"within": 1, "above": 1},
        "hit": 2,
        "n_rest": 2,
    }
    assert perplexity.values["detectors"]["Act-Prob-90p (pooled)"] is None  # not measured
    assert perplexity.values["few_draws"] == 1


def test_no_effect_is_a_null_and_no_measurement_is_none(store: Store) -> None:
    put(store, lape=LAPE)
    unmeasured = findings(store)[1]
    assert (unmeasured.tone, unmeasured.values["n"]) == ("note", 0)
    put_changes(store, PLAN, "lape", {"sw": {"en": 1.1, "sw": 1.1}}, {"sw": 1.1})
    perplexity = findings(store)[1]
    assert (perplexity.tone, perplexity.values["above"], perplexity.values["n"]) == ("no", 0, 1)
    assert perplexity.values["detectors"]["LAPE"]["hit"] == 0
