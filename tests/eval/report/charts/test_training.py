"""Loss curves: how long trainings are thinned, what is marked, and names that stay text."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyneuron.eval.report.charts.training import MOST_POINTS, curve_legend, line_style, loss_curves, thinned
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.store.store import Store
from tests.eval.report.synthetic import Plan, store_with, studied
from tests.eval.report.training_rows import checks, put_rows, steps


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with(tmp_path / "s", Plan(languages=("en", "sw"), n_layers=2, n_draws=0, n_sentences=4))


def study_of(store: Store) -> ShownStudy:
    return studied(store).studies[0]


def test_a_short_training_keeps_every_step(store: Store) -> None:
    put_rows(store, "training", steps("shared", "sw", [3.0, 2.0, 1.0]))
    at, losses = thinned(study_of(store).trainings[0])
    assert (at.tolist(), losses.tolist()) == ([0, 1, 2], [3.0, 2.0, 1.0])


def test_a_long_one_is_averaged_by_tokens(store: Store) -> None:
    rows = steps("shared", "sw", [1.0, 4.0] * MOST_POINTS + [7.0])
    for row in rows[::2]:
        row["n_tokens"] = 200  # the steps of loss 1 have twice the tokens of those of loss 4
    put_rows(store, "training", rows)
    at, losses = thinned(study_of(store).trainings[0])
    assert len(at) == -(-len(rows) // 3) <= MOST_POINTS
    assert at[:2].tolist() == [1, 4] and at[-1] == len(rows) - 1
    assert losses[0] == pytest.approx((2 * 1 + 4 + 2 * 1) / 5) and losses[-1] == 7.0
    assert loss_curves(study_of(store).trainings, ("en", "sw"))[0]["binned"] == 3


def test_the_kept_step_and_the_loss_before_are_marked(store: Store) -> None:
    put_rows(store, "training", steps("shared", "sw", [3.0] * 10))
    rows = checks("tuned-shared-sw", "sw", {0: 3.0, 5: 2.0, 10: 2.5}, kept=5)
    put_rows(store, "validations", rows + checks("tuned-shared-sw", "en", {0: 2.0, 5: 2.1, 10: 2.2}, kept=5))
    (curves,) = loss_curves(study_of(store).trainings, ("en", "sw"))
    assert (curves["languages"], list(curves["validation"])) == (("sw",), ["en", "sw"])
    chart = str(curves["validation"]["sw"])
    assert "shared: kept after 5 steps, 2.000 nats per token" in chart
    assert chart.count('class="reference"') == 1 and "10 steps" in chart
    assert ("kept", "disc", "the step whose values were kept") in curve_legend(study_of(store).trainings)


def test_one_step_is_a_point_and_nothing_validated_has_no_panels(store: Store) -> None:
    put_rows(store, "training", steps("shared", "sw", [3.0]))
    (curves,) = loss_curves(study_of(store).trainings, ("en", "sw"))
    assert "shared: 3.000 nats per token" in curves["loss"] and not curves["validation"]
    assert [words for *_, words in curve_legend(study_of(store).trainings)] == ["shared"]


def test_a_strategy_from_outside_is_no_class() -> None:
    assert line_style('"><script>') == "train-other" and line_style("lora") == "train-lora"
