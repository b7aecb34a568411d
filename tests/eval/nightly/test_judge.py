"""The verdicts on a night, and what it ends as."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.nightly_power import dropped, judged, suite, two_nights
from polyneuron.eval.nightly.baseline import SettingsMismatch
from polyneuron.eval.nightly.judge import Judgement, Outcome, judge, worst
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError
from tests.eval.nightly.test_baseline import MODEL, Values, write_run, write_scores

GOOD: Values = {("xnli", "sw"): [1.0] * 30, ("xnli", "th"): [0.0] * 30, ("xquad", "th"): [0.5] * 30}
WORSE = {("xnli", "sw"): [0.0] * 12 + [1.0] * 18}
BETTER = {("xnli", "th"): [1.0] * 12 + [0.0] * 18}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A good night, mon, and the record of tue, which has no scores yet."""
    made = Store(tmp_path / "store")
    write_run(made, "r1", "mon", "ok", "2026-01-01T00:00:00+00:00")
    write_run(made, "r2", "tue", "running", "2026-01-02T00:00:00+00:00")
    write_scores(made, "r1", "mon", GOOD)
    return made


def judged_tuesday(
    store: Store, values: dict[Any, Any], variants: tuple[str, ...] = ("base",), **changed: Any
) -> Judgement:
    write_scores(store, "r2", "tue", values, **changed)
    return judge(store, MODEL, "tue", "mon", variants, alpha=0.05, min_effect=0.01)


def verdicts(found: Judgement) -> dict[tuple[str, str], str]:
    return {(v.benchmark, v.language): v.verdict for v in found.verdicts}


def test_an_equal_night_is_ok(store: Store) -> None:
    found = judged_tuesday(store, dict(GOOD))
    assert found.outcome is Outcome.OK and found.outcome == 0
    assert set(verdicts(found).values()) == {"no evidence"}
    assert {v.p_adjusted for v in found.verdicts} == {1.0}
    assert {(v.night, v.baseline, v.variant) for v in found.verdicts} == {("tue", "mon", "base")}


def test_a_loss_is_a_regression_tested_one_sided_over_the_family(store: Store) -> None:
    found = judged_tuesday(store, {**GOOD, **WORSE})
    assert found.outcome is Outcome.REGRESSION and found.outcome == 1
    (loss,) = [v for v in found.verdicts if v.verdict == "worse"]
    assert (loss.language, loss.delta) == ("sw", pytest.approx(-0.4))
    assert loss.p_value == pytest.approx(2**-12) and loss.p_adjusted == pytest.approx(3 * 2**-12)
    assert loss.test == "McNemar's exact test, one-sided (worse)"


def test_a_gain_is_found_two_sided_and_is_no_alarm(store: Store) -> None:
    found = judged_tuesday(store, {**GOOD, **BETTER})
    assert found.outcome is Outcome.OK
    (gain,) = [v for v in found.verdicts if v.verdict == "better"]
    assert gain.p_value == pytest.approx(2 * 2**-12) and gain.test == "McNemar's exact test, two-sided"


def test_a_loss_below_the_smallest_that_counts_is_no_regression(store: Store) -> None:
    write_scores(store, "r2", "tue", {**GOOD, **WORSE})
    assert judge(store, MODEL, "tue", "mon", ["base"], alpha=0.05, min_effect=0.41).outcome is Outcome.OK


def test_a_missing_score_is_not_judged(store: Store) -> None:
    found = judged_tuesday(store, {key: values for key, values in GOOD.items() if key[0] != "xquad"})
    assert found.outcome is Outcome.NOT_JUDGED and found.outcome == 2
    (missing,) = [v for v in found.verdicts if v.verdict == "not judged"]
    assert (missing.benchmark, missing.reason) == ("xquad", "night tue has no score of it")
    # It is no test, so it does not weaken the others.
    assert len(found.verdicts) == 3


@pytest.mark.parametrize(
    ("few_items_pass", "values", "outcome"),
    [
        (False, {}, Outcome.NOT_JUDGED),
        (True, {}, Outcome.OK),
        (True, WORSE, Outcome.REGRESSION),
    ],
)
def test_too_few_items_fail_a_night_unless_they_may_pass(
    store: Store, few_items_pass: bool, values: Values, outcome: Outcome
) -> None:
    few = ("xquad", "sw")
    write_scores(store, "r1", "mon", {few: [0.5]}, metric="f1")
    write_scores(store, "r2", "tue", {few: [0.0]}, metric="f1")
    write_scores(store, "r2", "tue", {**GOOD, **values})
    found = judge(
        store, MODEL, "tue", "mon", ["base"], alpha=0.05, min_effect=0.01, few_items_pass=few_items_pass
    )
    assert found.outcome is outcome and verdicts(found)[few] == "not judged"


def test_nothing_but_too_few_items_is_no_good_night(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for run_id, night in (("r1", "mon"), ("r2", "tue")):
        write_run(store, run_id, night, "ok", "2026-01-01T00:00:00+00:00")
        write_scores(store, run_id, night, {("xnli", "sw"): [1.0] * 4})
    found = judge(store, MODEL, "tue", "mon", ["base"], alpha=0.05, min_effect=0.0, few_items_pass=True)
    assert found.outcome is Outcome.NOT_JUDGED


def test_a_score_the_baseline_lacks_is_not_judged(store: Store) -> None:
    found = judged_tuesday(store, {**GOOD, ("xnli", "fr"): [1.0]})
    assert list(verdicts(found)) == [("xnli", "fr"), ("xnli", "sw"), ("xnli", "th"), ("xquad", "th")]
    assert verdicts(found)["xnli", "fr"] == "not judged"
    assert [v.reason for v in found.verdicts if v.language == "fr"] == ["night mon has no score of it"]


def test_a_language_the_benchmark_has_no_longer_says_why(store: Store) -> None:
    write_scores(store, "r2", "tue", {("xquad", "th"): []}, metric="none", value=None, null_reason="gone")
    found = judged_tuesday(store, {key: values for key, values in GOOD.items() if key[0] != "xquad"})
    assert [v.reason for v in found.verdicts if v.benchmark == "xquad"] == [
        "night tue has no score of it (gone)"
    ]


def test_a_language_no_night_has_is_left_out(store: Store) -> None:
    for run_id, night in (("r1", "mon"), ("r2", "tue")):
        write_scores(
            store, run_id, night, {("xquad", "sw"): []}, metric="none", value=None, null_reason="no sw"
        )
    assert judged_tuesday(store, dict(GOOD)).outcome is Outcome.OK


def test_a_regression_wins_over_what_could_not_be_judged(store: Store) -> None:
    found = judged_tuesday(store, {**WORSE, ("xnli", "th"): [0.0] * 29})
    assert set(verdicts(found).values()) == {"worse", "not judged"}
    assert found.outcome is Outcome.REGRESSION


def test_what_is_not_primary_is_not_judged_at_all(store: Store) -> None:
    for run_id, night, values in (("r1", "mon", [1.0] * 20), ("r2", "tue", [0.0] * 20)):
        write_scores(store, run_id, night, {("mmmlu", "sw"): values}, primary=False)
    assert judged_tuesday(store, dict(GOOD)).outcome is Outcome.OK


def test_other_settings_are_refused(store: Store) -> None:
    with pytest.raises(SettingsMismatch, match="n_shots = 3"):
        judged_tuesday(store, dict(GOOD), n_shots=3)


def test_variants_are_one_family_in_the_order_asked_for(store: Store) -> None:
    write_scores(store, "r1", "mon", GOOD, variant="edited")
    write_scores(store, "r2", "tue", {**GOOD, **WORSE, ("xnli", "zh"): [1.0]}, variant="edited")
    found = judged_tuesday(store, dict(GOOD), ("edited", "base"))
    assert [v.variant for v in found.verdicts] == ["edited"] * 4 + ["base"] * 3
    assert [v.p_adjusted for v in found.verdicts if v.verdict == "worse"] == [pytest.approx(6 * 2**-12)]


def test_a_variant_of_one_night_only_is_not_judged(store: Store) -> None:
    write_scores(store, "r1", "mon", GOOD, variant="edited")
    found = judged_tuesday(store, dict(GOOD), ("base", "edited"))
    assert [(v.variant, v.verdict) for v in found.verdicts] == [("base", "no evidence")] * 3 + [
        ("edited", "not judged")
    ] * 3
    assert found.outcome is Outcome.NOT_JUDGED


def test_a_night_or_variant_that_is_not_there_is_named(store: Store) -> None:
    write_scores(store, "r2", "tue", GOOD)
    for names, variants, words in (
        (("wed", "mon"), ["base"], "no night or run 'wed'"),
        (("tue", "r2"), ["base"], "Night tue .* cannot be compared with itself"),
        (("tue", "r1"), ["base", "edited"], "Neither night tue nor night mon .* variant 'edited'"),
    ):
        with pytest.raises(StoreError, match=words):
            judge(store, MODEL, *names, variants, alpha=0.05, min_effect=0.0)


def test_nothing_to_compare_is_not_ok() -> None:
    assert (
        Judgement(
            model=MODEL, night="tue", baseline_night="mon", alpha=0.05, min_effect=0.0, verdicts=()
        ).outcome
        is Outcome.NOT_JUDGED
    )
    assert worst([]) is Outcome.NOT_JUDGED
    assert worst([Outcome.OK, Outcome.NOT_JUDGED, Outcome.REGRESSION]) is Outcome.REGRESSION
    assert worst([Outcome.NOT_JUDGED, Outcome.OK]) is Outcome.NOT_JUDGED


def test_the_verdicts_can_be_stored(store: Store) -> None:
    found = judged_tuesday(store, {**GOOD, **WORSE, ("xnli", "fr"): [1.0]})
    store.write("verdicts", found.table(), "u", {"model": MODEL}, run_id="r2")
    stored = store.read("verdicts").drop_columns(["run_id", "unit"]).to_pylist()
    assert stored == [asdict(verdict) for verdict in found.verdicts]


def test_full_nights_alarm_for_a_planted_drop_and_seldom_without_one() -> None:
    made, generator = suite(), np.random.default_rng(0)
    alarms = 0
    for seed in range(20):
        before, tonight = two_nights(made, 0.01, generator)
        alarms += judged(made, tonight, before, seed).outcome is Outcome.REGRESSION
        rows = made.rows["mmmlu", "th"]
        tonight[rows] = dropped(tonight[rows], 8, generator)
        found = [
            (v.benchmark, v.language)
            for v in judged(made, tonight, before, seed).verdicts
            if v.verdict == "worse"
        ]
        assert ("mmmlu", "th") in found
    # More than 4 of 20 have a probability below 0.3% where each alarms with 5%.
    assert alarms <= 4
