"""Perplexity multipliers against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from polyneuron.eval.report.numbers.effects import (
    ABOVE,
    BELOW,
    WITHIN,
    Effect,
    beside_random,
    effects_of,
    judged,
)
from polyneuron.eval.report.numbers.variants import ShownVariant, Variants
from polyneuron.eval.verdicts.verdict import BETTER, NO_EVIDENCE, NOT_JUDGED, WORSE
from polyneuron.neuron_core.common.errors import StoreError


def variant(
    name: str, kind: str, nats: list[float], sentences: list[int] | None = None, control_of: str | None = None
) -> ShownVariant:
    """Sentences of 2 and 6 tokens."""
    order = np.array(sentences or range(len(nats)))
    nll = {"en": (order, np.array(nats), np.array([2.0, 6.0][: len(nats)]))}
    return ShownVariant(name=name, kind=kind, control_of=control_of, n_neurons=3, nll=nll)


def test_perplexity_pools_tokens_not_sentences() -> None:
    base, off = variant("base", "base", [2.0, 18.0]), variant("shared", "shared", [6.0, 22.0])
    effects = effects_of(Variants([base, off]))
    assert effects is not None
    assert effects.base["en"] == pytest.approx(math.exp(20 / 8))
    effect = effects.by["shared"]["en"]
    assert effect.times == pytest.approx(math.e)
    assert effect.ppl == pytest.approx(math.exp(28 / 8))
    assert math.exp(4 / 6) - 1e-9 <= effect.low <= effect.times <= effect.high <= math.exp(2) + 1e-9


def test_the_same_change_in_every_sentence_has_no_spread() -> None:
    base, off = variant("base", "base", [2.0, 18.0]), variant("shared", "shared", [3.0, 21.0])
    effects = effects_of(Variants([base, off]))
    assert effects is not None
    effect = effects.by["shared"]["en"]
    assert (effect.low, effect.high) == pytest.approx((effect.times, effect.times))


def test_unscored_sentences_are_left_out_of_both() -> None:
    base, off = variant("base", "base", [2.0, math.nan]), variant("shared", "shared", [3.0, 21.0])
    effects = effects_of(Variants([base, off]))
    assert effects is not None
    assert effects.by["shared"]["en"].n_sentences == 1
    assert effects.base["en"] == pytest.approx(math.exp(1.0))


def test_other_sentences_are_refused() -> None:
    base, off = variant("base", "base", [2.0, 18.0]), variant("shared", "shared", [3.0, 21.0], [4, 5])
    with pytest.raises(StoreError, match="shared"):
        effects_of(Variants([base, off]))


def test_without_a_base_there_are_no_effects() -> None:
    assert effects_of(Variants()) is None


@pytest.mark.parametrize(
    ("low", "high", "n", "side"),
    [
        (0.9, 0.99, 20, BELOW),
        (1.01, 1.1, 20, ABOVE),
        (0.9, 1.1, 20, WITHIN),
        (1.0 + 1e-13, 1.0 + 1e-13, 20, WITHIN),
        (0.9, 0.9, 1, NOT_JUDGED),
    ],
)
def test_a_side_needs_an_interval_that_leaves_one_out(low: float, high: float, n: int, side: str) -> None:
    assert effect(np.zeros(n), low=low, high=high).side == side


def effect(differences: np.ndarray, **changed: float) -> Effect:
    times = math.exp(differences.sum() / (10 * len(differences)))
    values = {"ppl": 10.0, "times": times, "low": times, "high": times} | changed
    return Effect(**values, n_sentences=len(differences), differences=differences)


def test_effects_are_judged_as_a_family_by_their_sentences() -> None:
    """Eleven of twelve sentences against one: p = 26 / 4096 alone, too much among nine."""
    mixed = np.array([0.1] * 11 + [-0.1])
    assert [each.verdict for each in judged({0: effect(mixed)}).values()] == [WORSE]
    assert [each.verdict for each in judged({0: effect(-mixed)}).values()] == [BETTER]
    nine = judged(dict(enumerate([effect(mixed), *[effect(np.zeros(12))] * 8])))
    assert nine[0].p_adjusted == pytest.approx(9 * 26 / 4096) and nine[0].verdict == NO_EVIDENCE
    with_few = judged({"few": effect(np.array([1.0] * 3)), "enough": effect(mixed)})
    assert with_few["few"].verdict == NOT_JUDGED and with_few["enough"].p_adjusted == pytest.approx(26 / 4096)
    assert effect(mixed).verdict == NOT_JUDGED and judged({}) == {}


@pytest.mark.parametrize(
    ("draws", "verdict"),
    [
        ([[3.0, 21.0], [2.5, 19.5]], ABOVE),  # half a nat a token more than the one, 3/4 more than the other
        ([[3.0, 21.0], [4.0, 24.0]], WITHIN),  # as much as the second
        ([[5.0, 27.0], [6.0, 30.0]], BELOW),
        ([], NOT_JUDGED),
    ],
)
def test_a_set_is_beside_all_of_its_draws(draws: list[list[float]], verdict: str) -> None:
    off = variant("shared", "shared", [4.0, 24.0])
    controls = [variant(f"control-{i}", "control", nats, control_of="shared") for i, nats in enumerate(draws)]
    assert beside_random(Variants([off, *controls]), off, "en") == verdict
