"""Counts over thresholds, against sets worked out by hand and by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from polyneuron.eval.report.numbers.thresholds import grid, set_size_curves
from polyneuron.neuron_core.common.errors import StoreError

NAN = float("nan")


def test_counts_by_hand() -> None:
    impacts = {"v": np.array([[4.0, 1.0, 1.0, 0.1], [2.0, 2.0, 0.5, 0.1]])}
    curves = set_size_curves(("en", "th"), impacts, {"v": np.ones(2)}, {"v": np.full(2, NAN)})
    at = curves.study_index
    assert curves.multipliers[at] == 1.0
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
    for p, m in enumerate(curves.multipliers):
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
    assert curves.shared[0, curves.study_index] == 1


def test_the_floor_says_where_counts_are_exact() -> None:
    impacts = {"k": np.ones((2, 3))}
    curves = set_size_curves(("a", "b"), impacts, {"k": np.array([2.0, 4.0])}, {"k": np.array([1.0, 1.0])})
    assert curves.certified_from == 0.5


def test_unknown_impacts_never_pass() -> None:
    impacts = {"k": np.array([[NAN, 9.0], [9.0, 9.0]])}
    curves = set_size_curves(("a", "b"), impacts, {"k": np.ones(2)}, {"k": np.full(2, NAN)})
    assert curves.related[0, :, 0].tolist() == [1, 2]


def test_a_threshold_of_zero_is_refused() -> None:
    with pytest.raises(StoreError, match="must be positive"):
        set_size_curves(("a",), {"k": np.ones((1, 2))}, {"k": np.zeros(1)}, {"k": np.full(1, NAN)})


def test_the_grid_is_centred_on_the_study() -> None:
    assert grid()[0] == pytest.approx(1 / 16)
    assert np.all(np.diff(np.log(grid())) > 0)
