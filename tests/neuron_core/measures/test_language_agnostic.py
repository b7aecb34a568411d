"""Equations 4 to 6 against numbers derived by hand, null rules, and how intervals behave."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.measures.language_agnostic import (
    EXCLUSIVE_EMPTY,
    NO_LOSS,
    NOT_FINITE,
    SHARED_EMPTY,
    LanguageLosses,
    Losses,
    Value,
    importance,
    language_agnostic_score,
    measures_of,
    shared_ratio,
)

LN2 = math.log(2)


def losses(*nats: float, n_tokens: int = 10) -> Losses:
    """Sentences of `n_tokens` tokens with the given mean NLL each."""
    return Losses.from_columns(range(len(nats)), [n_tokens * x for x in nats], [n_tokens] * len(nats))


def by_name(found) -> dict:
    return {(e.metric, e.language): e for e in found}


def test_equation_4_by_hand() -> None:
    assert shared_ratio(30, {"en": 10, "sw": 30}).value == 1.5
    assert shared_ratio(0, {"en": 10}).value == 0.0
    assert shared_ratio(5, {"en": 0, "sw": 0}) == Value(None, "every exclusive set is empty")


def test_equation_5_by_hand() -> None:
    assert importance(6.0, 3, 4.0, 8).value == (6 / 3) / (4 / 8) == 4.0
    assert importance(-1.0, 1, 1.0, 1).value == -1.0
    assert importance(1.0, 0, 1.0, 1) == Value(None, SHARED_EMPTY)
    assert importance(1.0, 1, 1.0, 0) == Value(None, EXCLUSIVE_EMPTY)
    assert importance(1.0, 1, 0.0, 1) == importance(1.0, 1, -2.0, 1) == Value(None, NO_LOSS)
    assert importance(math.inf, 1, 1.0, 1) == importance(1e300, 1, 1e-300, 1) == Value(None, NOT_FINITE)


def test_equation_6_by_hand() -> None:
    assert language_agnostic_score({"en": Value(2.0), "sw": Value(4.0)}) == Value(math.log1p(3))
    left_out = language_agnostic_score({"en": Value(2.0), "sw": Value(None, NO_LOSS)})
    assert (
        left_out.value == math.log1p(2)
        and left_out.null_reason == f"mean over 1 of 2 languages (sw: {NO_LOSS})"
    )
    assert language_agnostic_score({"sw": Value(None, NO_LOSS)}).value is None
    assert language_agnostic_score({"en": Value(-1.5)}).value is None


def test_evaluate_by_hand() -> None:
    """Base perplexity 2; without shared 8, without exclusive 4: dPPL 6 and 2, dNLL 2 ln 2 and ln 2; sizes 5
    and 10.
    """
    language = LanguageLosses(losses(LN2, LN2), losses(3 * LN2, 3 * LN2), losses(2 * LN2, 2 * LN2), 10)
    found = by_name(measures_of(5, {"en": language}, n_bootstrap=50))
    assert found["shared_ratio", None].value == 0.5 and found["shared_ratio", None].low is None
    assert found["imp_ppl", "en"].value == pytest.approx((6 / 5) / (2 / 10))
    assert found["imp_nll", "en"].value == pytest.approx((2 / 5) / (1 / 10))
    assert found["language_agnostic_score_ppl", None].value == pytest.approx(math.log(7))
    assert found["language_agnostic_score_nll", None].value == pytest.approx(math.log(5))
    for estimate in found.values():  # equal sentences: every resample gives the same value
        if estimate.low is not None:
            assert estimate.low == pytest.approx(estimate.value) == estimate.high
            assert (estimate.n_bootstrap, estimate.seed, estimate.null_reason) == (50, 0, None)


def test_tokens_weigh_sentences() -> None:
    """Without shared 9 nats more over 9 + 1 tokens, without exclusive 1 more: 9 times, not the mean of 1 and 0 nats a token."""
    base, shared, exclusive = (
        Losses.from_columns([0, 1], nats, [9, 1]) for nats in ([10.0, 2.0], [19.0, 2.0], [10.0, 3.0])
    )
    language = LanguageLosses(base, shared, exclusive, 1)
    assert by_name(measures_of(1, {"en": language}))["imp_nll", "en"].value == pytest.approx(9)


def random_language(
    rng: np.random.Generator, n: int = 40, shared: float = 2.0, exclusive: float = 0.5
) -> LanguageLosses:
    tokens = rng.integers(5, 40, n)
    base = tokens * rng.normal(3.0, 0.5, n)
    both = [base + tokens * rng.normal(change, 0.1, n) for change in (shared, exclusive)]
    columns = [Losses.from_columns(np.arange(n), nats, tokens) for nats in (base, *both)]
    return LanguageLosses(columns[0], columns[1], columns[2], 20)


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_intervals_hold_the_value_and_repeat(seed: int) -> None:
    rng = np.random.default_rng(seed)
    languages = {"en": random_language(rng), "sw": random_language(rng)}
    found = measures_of(30, languages, n_bootstrap=200, seed=seed)
    assert found == measures_of(30, languages, n_bootstrap=200, seed=seed)
    turned = measures_of(30, dict(reversed(languages.items())), n_bootstrap=200, seed=seed)
    assert by_name(turned)["imp_ppl", "sw"] == by_name(found)["imp_ppl", "sw"]
    for estimate in found[1:]:
        assert estimate.low < estimate.value < estimate.high


def test_resampling_is_paired() -> None:
    """A change that is the same on every sentence has no spread, however much the sentences differ."""
    nats = np.random.default_rng(0).normal(50, 30, 30)
    tokens = np.full(30, 10)
    variants = [Losses.from_columns(range(30), nats + 10 * change, tokens) for change in (0.0, 1.0, 0.25)]
    found = by_name(measures_of(1, {"en": LanguageLosses(*variants, 1)}, n_bootstrap=100))
    assert found["imp_nll", "en"].low == pytest.approx(4.0) and found["imp_nll", "en"].high == pytest.approx(
        4.0
    )


def test_interval_matches_a_plain_loop() -> None:
    """2000 resamples one by one with another generator: the ends agree to sampling error."""
    language = random_language(np.random.default_rng(1), n=25)
    rng, n = np.random.default_rng(99), 25
    draws = []
    for _ in range(2000):
        at = rng.integers(0, n, n)

        def ppl(part, at=at):
            return math.exp(part.nll_nats[at].sum() / part.n_tokens[at].sum())

        base = ppl(language.base)
        draws.append(((ppl(language.shared) - base) / 30) / ((ppl(language.exclusive) - base) / 20))
    found = by_name(measures_of(30, {"en": language}, n_bootstrap=2000))["imp_ppl", "en"]
    width = np.quantile(draws, 0.975) - np.quantile(draws, 0.025)
    assert abs(found.low - np.quantile(draws, 0.025)) < 0.1 * width
    assert abs(found.high - np.quantile(draws, 0.975)) < 0.1 * width


def test_an_exclusive_set_that_hardly_hurts_has_an_open_interval() -> None:
    base = losses(*[1.0] * 20)
    rng = np.random.default_rng(0)
    weak = losses(*(1.0 + rng.normal(0.02, 0.1, 20)))
    found = by_name(measures_of(1, {"en": LanguageLosses(base, losses(*[2.0] * 20), weak, 1)}))[
        "imp_nll", "en"
    ]
    assert found.value is not None and found.low is not None and found.high is None
    assert "open" in found.null_reason and "resamples" in found.null_reason


def test_nulls_are_told_and_never_numbers() -> None:
    base, more, less = losses(1.0, 1.2), losses(2.0, 2.5), losses(0.9, 1.0)
    languages = {
        "good": LanguageLosses(base, more, more, 4),
        "helped": LanguageLosses(base, more, less, 4),
        "empty": LanguageLosses(base, more, None, 0),
        "broken": LanguageLosses(base, more, losses(math.inf, 1.0), 4),
    }
    found = by_name(measures_of(3, languages, n_bootstrap=20))
    for language, reason in (("helped", NO_LOSS), ("empty", EXCLUSIVE_EMPTY), ("broken", NOT_FINITE)):
        estimate = found["imp_ppl", language]
        assert (estimate.value, estimate.low, estimate.high, estimate.null_reason) == (
            None,
            None,
            None,
            reason,
        )
    score = found["language_agnostic_score_ppl", None]
    assert score.value == pytest.approx(math.log1p(4 / 3)) and score.null_reason.startswith(
        "mean over 1 of 4 languages"
    )
    nothing = by_name(measures_of(0, {"en": LanguageLosses(base, None, more, 4)}, n_bootstrap=20))
    assert nothing["imp_nll", "en"].null_reason == SHARED_EMPTY and nothing["shared_ratio", None].value == 0.0
    assert nothing["language_agnostic_score_nll", None].value is None


def test_overflow_is_null_in_perplexity_only() -> None:
    huge = losses(1000.0, 1000.0)
    found = by_name(
        measures_of(1, {"en": LanguageLosses(losses(1.0, 1.0), huge, losses(2.0, 2.0), 1)}, n_bootstrap=20)
    )
    assert found["imp_ppl", "en"].null_reason == NOT_FINITE and found["imp_nll", "en"].value == pytest.approx(
        999
    )


def test_one_sentence_has_a_value_but_no_interval() -> None:
    found = by_name(
        measures_of(1, {"en": LanguageLosses(losses(1.0), losses(3.0), losses(2.0), 1)}, n_bootstrap=20)
    )
    assert found["imp_nll", "en"].value == pytest.approx(2.0) and found["imp_nll", "en"].low is None


def test_mismatched_sentences_are_refused() -> None:
    with pytest.raises(SetError, match="en: .*same sentences"):
        measures_of(1, {"en": LanguageLosses(losses(1.0, 1.0), losses(1.0), losses(1.0, 1.0), 1)})
    with pytest.raises(SetError, match="twice"):
        Losses.from_columns([0, 0], [1.0, 1.0], [1, 1])
    with pytest.raises(SetError, match="predicted token"):
        Losses.from_columns([0], [0.0], [0])
