"""Intervals and tests against published values, closed forms and numbers derived by hand."""

import itertools
import math
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from polyneuron.eval.verdicts.statistics import (
    Alternative,
    fit_to_judge,
    holm,
    mcnemar_exact,
    mean_interval,
    paired_mean_interval,
    paired_share_interval,
    sign_flip,
    smallest_p,
    wilson,
)

Z = 1.959963984540054


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_newcombes_published_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


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


@settings(max_examples=20)
@given(
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(1, 60),
    st.lists(st.floats(1e-9, 1), min_size=1, max_size=20),
)
def test_statsmodels_agrees(only_a: int, only_b: int, n: int, p_values: list[float]) -> None:
    if only_a + only_b:
        theirs = mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue
        assert mcnemar_exact(only_a, only_b) == pytest.approx(theirs, rel=1e-9)
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
    successes = min(only_a, n)
    theirs = proportion_confint(successes, n, method="wilson")
    assert wilson(successes, n) == pytest.approx(theirs, abs=1e-12)


def test_the_paired_interval_gives_the_published_value() -> None:
    # Fagerland, Lydersen, Laake 2014, airway hyper-responsiveness: -0.517 to -0.026.
    assert paired_share_interval(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)


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


DIFFERENCES = st.lists(
    st.one_of(st.sampled_from([-1.0, -0.5, 0.0, 1 / 3, 1.0]), st.floats(-1, 1)), min_size=1, max_size=12
)


@settings(max_examples=60)
@given(DIFFERENCES)
def test_few_signs_are_all_gone_through_as_scipy_does(differences: list[float]) -> None:
    found = sign_flip(differences, 1, 0)
    signs = np.array(list(itertools.product([1, -1], repeat=len(differences))))
    sums, observed = signs @ np.abs(differences), math.fsum(differences)
    slack = 1e-9 * math.fsum(map(abs, differences))
    assert found["less"] == pytest.approx((sums <= observed + slack).mean())
    assert found["two-sided"] == pytest.approx((np.abs(sums) >= abs(observed) - slack).mean())


@pytest.mark.parametrize("alternative", ["two-sided", "less"])
@pytest.mark.parametrize("n", [9, 300])
def test_flipped_signs_agree_with_scipy(n: int, alternative: Alternative) -> None:
    differences = np.random.default_rng(n).normal(-0.06, 0.5, n)
    theirs = permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        alternative=alternative,
        n_resamples=20_000,
        rng=np.random.default_rng(1),
        vectorized=True,
    ).pvalue
    assert sign_flip(differences, 20_000, 0)[alternative] == pytest.approx(
        theirs, abs=1e-12 if n < 10 else 0.02
    )


@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 50), st.floats(0.01, 1))
def test_of_equal_sizes_it_is_mcnemars_test(only_a: int, only_b: int, ties: int, size: float) -> None:
    found = sign_flip([size] * only_a + [-size] * only_b + [0.0] * (ties + 1), 1, 0)
    for name, p in found.items():
        assert p == pytest.approx(mcnemar_exact(only_a, only_b, name), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("only", [900, 1100, 20_000])
def test_it_is_mcnemars_for_very_many_items_too(only: int) -> None:
    found = sign_flip([0.5] * only + [-0.5] * (only + 60), 1, 0)
    for name, p in found.items():
        assert p == pytest.approx(mcnemar_exact(only, only + 60, name), rel=1e-8)


def test_one_item_says_nothing() -> None:
    """The bootstrap that was here called it significant with p = 0.0005."""
    assert sign_flip([-0.5], 10_000, 0) == {"two-sided": 1.0, "less": 0.5}
    assert smallest_p(1, "two-sided") == 1.0 and smallest_p(1, "less") == 0.5


@settings(max_examples=30)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60), st.integers(0, 99))
def test_a_seed_decides_the_draws_and_no_p_value_is_below_what_the_items_can_give(
    differences: list[float], seed: int
) -> None:
    found = sign_flip(differences, 500, seed)
    assert found == sign_flip(differences, 500, seed)
    for name, p in found.items():
        assert smallest_p(len(differences), name) <= p <= 1


def test_differences_that_are_equal_but_for_rounding_are_of_one_size() -> None:
    differences = [0.1 + 0.2, 0.3, 0.9 - 0.6] * 400  # of three sizes there are 6e7 choices, of one size 1201
    assert sign_flip(np.negative(differences), 1, 0)["less"] == pytest.approx(sys.float_info.min, abs=1e-300)


LAWS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "ties": lambda g, shape: g.choice([-0.5, 0.0, 0.5], shape),
    "heavy zeros": lambda g, shape: g.uniform(-1, 1, shape) * (g.random(shape) < 0.05),
    "sizes that differ": lambda g, shape: np.sign(g.random(shape) - 0.5) * g.beta(0.3, 3, shape),
}
"""Differences that are as likely to be turned round as not."""


@pytest.mark.parametrize("n", [1, 3, 12, 40, 200])
@pytest.mark.parametrize("law", LAWS)
def test_the_level_is_kept_at_every_size(law: str, n: int) -> None:
    """`python -m bench.error_rates` has more laws, sizes and families."""
    nights = 400
    draws = LAWS[law](np.random.default_rng([n, len(law)]), (nights, n))
    for name in ("two-sided", "less"):
        rejected = sum(sign_flip(row, 400, i)[name] <= 0.05 for i, row in enumerate(draws))
        assert wilson(rejected, nights)[0] <= 0.05


def test_draws_stop_early_without_moving_the_p_value() -> None:
    """Draws go on to the last for a small p-value only; where they stop, it is the share of those drawn."""
    generator = np.random.default_rng(0)
    differences = generator.normal(0.02, 0.3, 300)
    p_values = [sign_flip(differences, 10_000, seed)["two-sided"] for seed in range(40)]
    exact = sign_flip(differences, 400_000, 99)["two-sided"]
    assert np.mean(p_values) == pytest.approx(exact, rel=0.06) and np.std(p_values) < 0.1 * exact


@pytest.mark.parametrize(
    ("n_items", "alternative", "fit"),
    [
        ([1], "less", [False]),
        ([5], "less", [True]),
        ([5], "two-sided", [False]),
        ([6], "two-sided", [True]),
        ([6] * 6, "two-sided", [False] * 6),  # 1/32 is above 0.05/6
        ([8] * 6, "two-sided", [True] * 6),
        ([1, 300, 6, 3], "two-sided", [False, True, False, False]),  # with 6 items, 1/32 is above 0.05/2
        ([1, 300, 7, 3], "two-sided", [False, True, True, False]),
        ([], "less", []),
    ],
)
def test_who_is_fit_to_judge(n_items: list[int], alternative: Alternative, fit: list[bool]) -> None:
    assert fit_to_judge(n_items, 0.05, alternative) == fit


@given(st.lists(st.integers(1, 40), max_size=30), st.floats(0.001, 0.2))
def test_who_is_fit_can_be_rejected_alone_and_no_larger_family_could(
    n_items: list[int], alpha: float
) -> None:
    fit = fit_to_judge(n_items, alpha, "less")
    size = sum(fit)
    assert all(
        smallest_p(n, "less") <= alpha / size for n, is_fit in zip(n_items, fit, strict=True) if is_fit
    )
    for least in set(n_items):
        members = [n for n in n_items if n >= least]
        if len(members) > size:
            assert smallest_p(least, "less") > alpha / len(members)


def test_the_intervals_by_hand() -> None:
    # Agresti & Coull 1998: 0 of 10 and four more give 2/14, with the variance of 2 of 14.
    found = mean_interval([0.0] * 10)
    assert (found.low, found.stderr) == (0.0, 0.0)
    assert found.high == pytest.approx(2 / 14 + Z * math.sqrt(2 / 14 * 12 / 14 / 14))
    # Bonett & Price 2012: (b + 1 - c - 1) / (n + 2) and its standard error.
    b, c, n = 7, 1, 21
    centre = (b - c) / (n + 2)
    half = Z * math.sqrt(((b + c + 2) / (n + 2) - centre**2) / (n + 2))
    assert paired_mean_interval([1.0] * b + [-1.0] * c + [0.0] * (n - b - c)) == pytest.approx(
        (centre - half, centre + half)
    )


@pytest.mark.parametrize("value", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("n", [1, 3, 50])
def test_equal_values_leave_room(value: float, n: int) -> None:
    of_mean, of_difference = mean_interval([value] * n), paired_mean_interval([value] * n)
    assert 0 <= of_mean.low <= value <= of_mean.high <= 1 and of_mean.high - of_mean.low > 1 / (n + 4)
    assert -1 <= of_difference[0] <= value <= of_difference[1] <= 1 and np.diff(of_difference) > 1 / (n + 2)


@pytest.mark.parametrize("n", [3, 10, 30, 100])
def test_the_intervals_cover(n: int) -> None:
    generator = np.random.default_rng(n)
    losses = -(generator.random((1000, n)) < 0.05).astype(float)
    covered = sum(low <= -0.05 <= high for low, high in map(paired_mean_interval, losses))
    assert wilson(covered, 1000)[1] >= 0.95
    scores = np.round(generator.beta(2, 1, (1000, n)), 1)
    mean = np.round(generator.beta(2, 1, 400_000), 1).mean()
    covered = sum(found.low <= mean <= found.high for found in map(mean_interval, scores))
    assert wilson(covered, 1000)[1] >= 0.95


@pytest.mark.parametrize("wrong", [[], [math.nan], [[1.0]], [1.5], [-2.0]])
def test_what_has_no_mean_in_the_range_is_refused(wrong: list[float]) -> None:
    for of in (mean_interval, paired_mean_interval):
        with pytest.raises(ValueError, match=r"finite|do not lie"):
            of(wrong)


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
