"""p-values of draws, by hand."""

import numpy as np
import pytest

from polyneuron.eval.report.numbers.chance import empirical_p, tail_of_hits


def test_few_draws_have_no_small_p_value() -> None:
    assert empirical_p(5.0, [1.0, 2.0, 3.0]) == 1 / 4
    assert empirical_p(2.0, [1.0, 2.0, 3.0]) == 3 / 4  # a tie counts
    assert empirical_p(2.0, []) == 1.0


def test_hits_of_several_sets() -> None:
    assert tail_of_hits([0.25] * 6, 6) == pytest.approx(0.25**6)
    assert tail_of_hits([0.25] * 6, 0) == pytest.approx(1.0)
    assert tail_of_hits([0.5, 0.25], 1) == pytest.approx(1 - 0.5 * 0.75)
    assert tail_of_hits([], 0) == 1.0


def test_a_set_that_is_a_draw_is_seldom_called_more_than_one() -> None:
    values = np.random.default_rng(0).random((4000, 20))
    small = np.mean([empirical_p(row[0], row[1:]) <= 0.05 for row in values])
    assert small == pytest.approx(0.05, abs=0.011)
