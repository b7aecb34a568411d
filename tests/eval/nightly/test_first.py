"""A night without a baseline: its primary scores, and whether it may become one."""

from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.nightly.judge import FirstNight, Outcome, complete, first_night
from polyneuron.eval.store.store import Store
from tests.eval.nightly.test_baseline import MODEL, Values, write_run, write_scores

SCORED: Values = {("xquad", "th"): [0.5] * 3, ("xnli", "sw"): [1.0, 0.0]}


def recorded(folder: Path, values: Values, **changed: Any) -> FirstNight:
    store = Store(folder / "store")
    write_run(store, "r1", "mon", "running", "2026-01-01T00:00:00+00:00")
    write_scores(store, "r1", "mon", values, **changed)
    write_scores(store, "r1", "mon", SCORED, variant="edited")
    write_scores(store, "r1", "another night", {("xnli", "fr"): [1.0]})
    return first_night(store, MODEL, "mon", ["edited", "base"])


def test_the_scores_are_the_primary_ones_in_the_order_of_the_variants(tmp_path: Path) -> None:
    found = recorded(tmp_path, SCORED)
    assert (found.model, found.night) == (MODEL, "mon")
    assert [
        tuple(s[name] for name in ("variant", "benchmark", "language", "metric", "n")) for s in found.scores
    ] == [
        (variant, *rest)
        for variant in ("edited", "base")
        for rest in (("xnli", "sw", "acc", 2), ("xquad", "th", "f1", 3))
    ]
    assert {s["value"] for s in found.scores} == {0.5} and found.outcome is Outcome.OK


def test_what_is_not_primary_or_has_no_task_does_not_count(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    no_task: dict[str, Any] = {
        "metric": "none",
        "value": None,
        "null_reason": "xquad has no sw",
        "data": "none",
    }
    write_scores(store, "r1", "mon", {("xquad", "sw"): []}, **no_task)
    write_scores(store, "r1", "mon", {("mmmlu", "sw"): [1.0]}, primary=False, n_unscored=3)
    found = recorded(tmp_path, SCORED)
    assert {s["benchmark"] for s in found.scores} == {"xnli", "xquad"} and found.outcome is Outcome.OK


@pytest.mark.parametrize(
    "gap", [{"n_unscored": 1}, {"n": 0, "n_unscored": 2, "value": None, "null_reason": "no prompt fits"}]
)
def test_a_night_with_gaps_is_not_accepted(tmp_path: Path, gap: dict[str, Any]) -> None:
    found = recorded(tmp_path, {("xnli", "sw"): [1.0, 0.0]}, **gap)
    assert found.outcome is Outcome.NOT_JUDGED and found.outcome == 2
    (short,) = [s for s in found.scores if not complete(s)]
    assert (short["variant"], short["n_unscored"], short["null_reason"]) == (
        "base",
        gap["n_unscored"],
        gap.get("null_reason"),
    )


def test_a_night_without_scores_is_not_accepted() -> None:
    assert FirstNight(MODEL, "mon", ()).outcome is Outcome.NOT_JUDGED
