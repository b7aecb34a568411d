"""Counts over thresholds, against sets worked out by hand and by brute force, and against the real selection under every rule."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from polyneuron.eval.report.numbers.curves import MULTIPLIERS, STUDY, Curves, set_size_curves
from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.neuron_core.selection.rules import Quantile, Rule, ScaledSigma, Sigma, TopRatio
from polyneuron.neuron_core.selection.select import select
from tests.eval.report.synthetic import Plan, store_with, studied, tables_of

NAN = float("nan")
FULL = Plan(languages=("en", "th", "sw"), bounded=False, n_draws=0)
RULES = [
    ScaledSigma(target_shared=0.05),
    ScaledSigma(sigma=1.3, per_token=False),
    ScaledSigma(target_shared=0.05, share=0.99),
    Sigma(2.0),
    Sigma(9.0, per_token=False),
    Quantile(0.1),
    TopRatio(0.125),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_rule_is_reproduced(tmp_path: Path, rule: Rule) -> None:
    plan = dataclasses.replace(FULL, rule=rule)
    study = studied(store_with(tmp_path, plan)).studies[0]
    assert isinstance(study.curves, Curves), study.curves
    at = STUDY
    assert study.curves.shared[:, at].sum() == study.sets.total("shared") > 0


@pytest.mark.parametrize("rule", [ScaledSigma(target_shared=0.05), TopRatio(0.125)], ids=str)
def test_a_moved_slider_is_what_selection_would_find(tmp_path: Path, rule: Rule) -> None:
    plan = dataclasses.replace(FULL, rule=rule)
    tables = tables_of(plan)
    study = studied(store_with(tmp_path, plan)).studies[0]
    assert isinstance(study.curves, Curves)
    at = STUDY + 16  # the threshold times 4, a quarter of the ratio
    factor = float(MULTIPLIERS[at])
    assert factor == pytest.approx(4)
    if isinstance(rule, TopRatio):
        moved = select(tables["impacts"], tables["detections"], rule.neighbour(rule.ratio / factor))
    else:
        moved = select(tables["impacts"], tables["detections"], rule.neighbour(study.rule["sigma"] * factor))
    assert study.curves.shared[:, at].sum() == len(moved.shared)
    found = study.curves.related[:, :, at].sum(axis=0).tolist()
    assert found == [len(moved.related[lang]) for lang in study.languages]


def test_counts_by_hand() -> None:
    impacts = {"v": np.array([[4.0, 1.0, 1.0, 0.1], [2.0, 2.0, 0.5, 0.1]])}
    curves = set_size_curves(("en", "th"), impacts, {"v": np.ones(2)}, {"v": np.full(2, NAN)})
    at = STUDY
    assert MULTIPLIERS[at] == 1.0
    assert curves.related[0, :, at].tolist() == [3, 2]
    assert curves.shared[0, at] == 2
    assert curves.exclusive()[0, :, at].tolist() == [1, 0]
    assert curves.strict[0, :, at].tolist() == [1, 0]
    assert curves.certified_from is None


def test_every_point_equals_brute_force() -> None:
    rng = np.random.default_rng(5)
    impacts = {g: rng.lognormal(0, 1, (3, 40)).astype(np.float32) for g in ("q", "ffn")}
    bars = {"q": np.array([0.7, 0.9, 1.1]), "ffn": np.array([1.0, 1.0, 1.0])}
    curves = set_size_curves(("a", "b", "c"), impacts, bars, {g: np.full(3, NAN) for g in impacts})
    for p, m in enumerate(MULTIPLIERS):
        for g, group in enumerate(("q", "ffn")):
            passing = impacts[group].astype(np.float64) >= m * bars[group][:, None]
            assert curves.related[g, :, p].tolist() == passing.sum(axis=1).tolist()
            assert curves.shared[g, p] == passing.all(axis=0).sum()
            alone = passing & (passing.sum(axis=0) == 1)
            assert curves.strict[g, :, p].tolist() == alone.sum(axis=1).tolist()


def test_a_neuron_exactly_at_the_threshold_counts() -> None:
    bar = float(np.float32(0.1)) * 3.3
    impacts = {"k": np.array([[bar], [bar]])}
    curves = set_size_curves(("a", "b"), impacts, {"k": np.full(2, bar)}, {"k": np.full(2, NAN)})
    assert curves.shared[0, STUDY] == 1


def test_the_floor_says_where_counts_are_exact() -> None:
    impacts = {"k": np.ones((2, 3))}
    curves = set_size_curves(("a", "b"), impacts, {"k": np.array([2.0, 4.0])}, {"k": np.array([1.0, 1.0])})
    assert curves.certified_from == 0.5


def test_unknown_impacts_never_pass() -> None:
    impacts = {"k": np.array([[NAN, 9.0], [9.0, 9.0]])}
    curves = set_size_curves(("a", "b"), impacts, {"k": np.ones(2)}, {"k": np.full(2, NAN)})
    assert curves.related[0, :, 0].tolist() == [1, 2]


def test_a_threshold_of_zero_is_refused() -> None:
    with pytest.raises(StoreError, match="group k"):
        set_size_curves(("a",), {"k": np.ones((1, 2))}, {"k": np.zeros(1)}, {"k": np.full(1, NAN)})


def test_the_grid_is_centred_on_the_study() -> None:
    assert MULTIPLIERS[0] == pytest.approx(1 / 16)
    assert np.all(np.diff(np.log(MULTIPLIERS)) > 0)
