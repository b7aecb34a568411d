"""Intervals and tests against published values, closed forms and numbers derived by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyneuron.eval.verdicts.statistics import (
    bootstrap_mean,
    holm,
    mcnemar_exact,
    paired_bootstrap,
    paired_share_interval,
    wilson,
)

Z = 1.959963984540054


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_newcombes_published_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@settings(deadline=None)
@given(st.integers(1, 3000), st.data())
def test_wilson_ends_are_the_shares_whose_score_test_just_rejects(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    for end in wilson(successes, n):
        if 0 < end < 1:
            assert abs(successes / n - end) == pytest.approx(Z * math.sqrt(end * (1 - end) / n), rel=1e-6)
    low, high = wilson(successes, n)
    assert low <= successes / n <= high and (low, high) == pytest.approx(
        tuple(1 - end for end in reversed(wilson(n - successes, n)))
    )


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_share(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson(successes, n)


def test_mcnemar_against_binomial_sums_done_by_hand() -> None:
    # Fagerland, Lydersen, Laake 2014: 1 against 7 discordant pairs, exact conditional p = 0.070.
    assert mcnemar_exact(1, 7) == pytest.approx(2 * (1 + 8) / 2**8)
    assert mcnemar_exact(1, 7, "less") == pytest.approx((1 + 8) / 2**8)
    assert mcnemar_exact(7, 1, "less") == pytest.approx(1 - 1 / 2**8)
    assert mcnemar_exact(0, 5, "less") == pytest.approx(1 / 32)
    assert mcnemar_exact(3, 3) == 1.0 and mcnemar_exact(0, 0) == 1.0 and mcnemar_exact(0, 0, "less") == 1.0
    assert mcnemar_exact(0, 5000) > 0


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_agrees_with_sums_of_binomial_coefficients(only_a: int, only_b: int) -> None:
    n = only_a + only_b
    tail = sum(math.comb(n, k) for k in range(only_a + 1)) / 2**n
    assert mcnemar_exact(only_a, only_b, "less") == pytest.approx(tail, rel=1e-9)
    assert mcnemar_exact(only_a, only_b) == pytest.approx(mcnemar_exact(only_b, only_a))


def test_the_paired_interval_gives_the_published_value() -> None:
    # Fagerland, Lydersen, Laake 2014, airway hyper-responsiveness: -0.517 to -0.026.
    assert paired_share_interval(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)


@settings(deadline=None)
@given(st.integers(1, 400), st.data())
def test_the_paired_interval_agrees_with_the_quartic_of_tangos_score(n: int, data: st.DataObject) -> None:
    """Yang, Sun, Hardin 2013, Stat. Med. 32:1336: the ends are roots of a polynomial."""
    b = data.draw(st.integers(0, n))
    c = data.draw(st.integers(0, n - b))
    g, d = Z * Z, b - c
    polynomial = [
        n**2 * (n / g + 1) ** 2,
        -n * d * (n / g + 1) * (4 * n / g + 1),
        2 * n * d**2 * (3 * n / g + 2) / g - n**2 * ((b + c) / g + 1),
        n * d * (2 * (b + c) / g + 1) - d**3 * (4 * n / g + 1) / g,
        d**2 * (d**2 / g - (b + c)) / g,
    ]
    low, high = paired_share_interval(b, c, n)
    assert -1 <= low <= d / n <= high <= 1
    for end in (low, high):
        terms = [coefficient * end ** (4 - i) for i, coefficient in enumerate(polynomial)]
        assert abs(math.fsum(terms)) <= 1e-6 * sum(map(abs, terms))
    assert (low, high) == pytest.approx(
        tuple(-end for end in reversed(paired_share_interval(c, b, n))), abs=1e-9
    )


def test_the_paired_interval_has_width_where_no_item_differs() -> None:
    # With no discordant pair the ends are z^2 / (n + z^2), as of Wilson's interval for 0 of n.
    assert paired_share_interval(0, 0, 50) == pytest.approx((-Z * Z / (50 + Z * Z), Z * Z / (50 + Z * Z)))
    assert paired_share_interval(5, 0, 5)[1] == 1.0
    with pytest.raises(ValueError):
        paired_share_interval(3, 3, 5)


def test_the_bootstrap_of_a_mean_has_the_closed_form_standard_error() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = bootstrap_mean(values, 20_000, 1)
    exact = values.std() / math.sqrt(len(values))
    assert found.stderr == pytest.approx(exact, rel=0.03)
    assert (found.low, found.high) == pytest.approx(
        (values.mean() - Z * exact, values.mean() + Z * exact), abs=0.03 * exact * 2
    )
    assert found == bootstrap_mean(values, 20_000, 1) != bootstrap_mean(values, 20_000, 2)


def test_a_resample_of_mostly_zeros_is_still_a_resample_of_all() -> None:
    """Zeros are never drawn one by one; mean and variance of the resampled mean must not notice."""
    values = np.zeros(1000)
    values[:30] = np.linspace(-1, 0.5, 30)
    found = bootstrap_mean(values, 50_000, 3)
    assert found.stderr == pytest.approx(values.std() / math.sqrt(1000), rel=0.02)
    plain = np.random.default_rng(0).choice(values, (20_000, 1000)).mean(1)
    assert (found.low, found.high) == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=3e-4)


def test_values_that_do_not_vary_have_no_width() -> None:
    assert bootstrap_mean([0.25] * 5, 100, 0).low == bootstrap_mean([0.25] * 5, 100, 0).high == 0.25
    assert bootstrap_mean([0.0], 100, 0).stderr == 0.0
    for wrong in ([], [math.nan], [[1.0]]):
        with pytest.raises(ValueError, match="finite"):
            bootstrap_mean(wrong, 10, 0)


def test_the_paired_bootstrap_against_a_distribution_done_by_hand() -> None:
    # Differences 1, 1, -1, centred 2/3, 2/3, -4/3: the mean of three is 2/3 with probability 8/27, 0 with
    # 12/27, -2/3 with 6/27 and -4/3 with 1/27. Observed: 1/3.
    n = 100_000
    above, below = paired_bootstrap([1, 1, -1], n, 0).p_values, paired_bootstrap([-1, -1, 1], n, 0).p_values
    assert above["two-sided"] == below["two-sided"] == pytest.approx(15 / 27, abs=0.006)
    assert below["less"] == pytest.approx(8 / 27, abs=0.006)
    assert above["less"] == pytest.approx(19 / 27, abs=0.006)


def test_means_as_far_out_as_the_observed_one_count_despite_rounding() -> None:
    # Centred ±0.1: the mean of two is 0.1 a quarter of the time, and exactly as far out as the observed 0.1.
    found = paired_bootstrap([-0.2, 0.0], 40_000, 0)
    assert found.p_values["less"] == pytest.approx(0.25, abs=0.01)


def test_a_p_value_is_never_zero_and_one_without_any_difference() -> None:
    assert paired_bootstrap(np.full(50, 0.5), 999, 0).p_values == {"two-sided": 1 / 1000, "less": 1.0}
    nothing = paired_bootstrap(np.zeros(50), 999, 0)
    assert (set(nothing.p_values.values()), nothing.low, nothing.high) == ({1.0}, 0.0, 0.0)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40), st.integers(0, 99))
def test_a_seed_decides_the_resamples_and_p_values_are_shares(differences: list[float], seed: int) -> None:
    found = paired_bootstrap(differences, 200, seed)
    assert found == paired_bootstrap(differences, 200, seed) and found.low <= found.high
    assert all(0 < p <= 1 for p in found.p_values.values())


def test_the_paired_bootstrap_keeps_its_level_without_a_difference() -> None:
    generator = np.random.default_rng(5)
    draws = generator.normal(size=(400, 60)) * (generator.random((400, 60)) < 0.5)
    rejected = sum(paired_bootstrap(row, 300, i).p_values["less"] <= 0.05 for i, row in enumerate(draws))
    low, high = wilson(rejected, 400)
    assert low < 0.06 and high > 0.03


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1; the last must not fall below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, None, 0.02]) == [0.02, None, 0.02]
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([]) == [] and holm([None]) == [None]


@given(st.lists(st.floats(1e-9, 1), max_size=20))
def test_holm_lies_between_no_correction_and_bonferronis(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, a in zip(p_values, adjusted, strict=True):
        assert a is not None and p <= a <= min(1, len(p_values) * p) + 1e-12
    assert sorted(range(len(p_values)), key=lambda i: (adjusted[i], p_values[i])) == sorted(
        range(len(p_values)), key=lambda i: p_values[i]
    )
