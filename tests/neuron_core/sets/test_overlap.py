"""Overlap beside chance: distributions by enumeration, sums over layers, and rows by hand."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.sets.chance import (
    at_least,
    central_interval,
    common_of_random,
    common_to_all_random,
    summed,
)
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.overlap import overlap_table, overlaps
from polyneuron.neuron_core.sets.schema import OVERLAP_SCHEMA


def ffn(width=10, **layers):
    return NeuronSet.from_indices("m", {"ffn": width}, 2, {(int(k[1:]), "ffn"): v for k, v in layers.items()})


def test_chance_by_enumeration() -> None:
    """All 20 sets of 3 among 6 neurons, against one fixed set of 2."""
    shared = [len({0, 1} & set(drawn)) for drawn in combinations(range(6), 3)]
    np.testing.assert_allclose(
        common_of_random(3, 2, 6), [shared.count(c) / 20 for c in range(3)], atol=1e-14
    )
    assert common_of_random(0, 4, 6).tolist() == [1.0]
    np.testing.assert_allclose(common_of_random(5, 4, 6), [0, 0, 0, 4 / 6, 2 / 6], atol=1e-14)


def test_common_to_several_by_enumeration() -> None:
    """All sets of 3 and of 4 among 5 neurons, against one fixed set of 2; the order of the sizes does not matter."""
    shared = [len({0, 1} & {*a} & {*b}) for a in combinations(range(5), 3) for b in combinations(range(5), 4)]
    expected = [shared.count(c) / len(shared) for c in range(3)]
    for sizes in ((2, 3, 4), (4, 2, 3)):
        np.testing.assert_allclose(common_to_all_random(sizes, 5), expected, atol=1e-14)
    assert common_to_all_random((5, 5, 5), 5).tolist() == [0, 0, 0, 0, 0, 1]
    np.testing.assert_allclose(common_to_all_random((3, 2), 6), common_of_random(3, 2, 6), atol=1e-14)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(6, 9)), max_size=4))
def test_sums_over_layers(layers) -> None:
    """A distribution, with the sum of the hypergeometric means n_a n_b / width."""
    total = summed(common_of_random(*layer) for layer in layers)
    assert total.sum() == pytest.approx(1) and (total >= 0).all()
    assert total @ np.arange(len(total)) == pytest.approx(
        sum(a * b / width for a, b, width in layers), abs=1e-9
    )
    assert at_least(total, 0) == pytest.approx(1)


def test_tails_and_interval_by_hand() -> None:
    distribution = np.array([0.01, 0.09, 0.8, 0.09, 0.01])
    assert central_interval(distribution) == (1, 3) and central_interval(distribution, 0.5) == (2, 2)
    assert at_least(distribution, 3) == pytest.approx(0.1) and at_least(distribution, 5) == 0


def test_small_tails_keep_their_digits() -> None:
    """Two equal sets of 20 of 1000 in each of 3 layers: 1 / C(1000, 20)^3, far below float64's epsilon."""
    one = common_of_random(20, 20, 1000)
    assert at_least(summed([one] * 3), 60) == pytest.approx(one[20] ** 3, rel=1e-9) and one[20] ** 3 < 1e-100


def test_rows_by_hand() -> None:
    methods = {
        "lape": {"en": ffn(l0=[0, 1, 2], l1=[5]), "sw": ffn(l0=[9])},
        "act_prob": {"en": ffn(l0=[2, 3])},
    }
    whole, first, second = overlaps(methods)
    assert (whole.method_a, whole.method_b, whole.language, whole.layer) == ("lape", "act_prob", "en", None)
    assert (whole.n_a, whole.n_b, whole.n_common, whole.jaccard) == (4, 2, 1, 0.2)
    assert whole.chance_common == pytest.approx(0.6) and (whole.chance_low, whole.chance_high) == (0, 2)
    assert whole.p_value == pytest.approx(1 - 21 / 45)  # 1 - C(7, 2) / C(10, 2)
    assert (first.layer, first.n_a, first.jaccard, first.chance_common) == (0, 3, 0.25, pytest.approx(0.6))
    expected = (21 * 0 + 21 * (1 / 4) + 3 * (2 / 3)) / 45
    assert first.chance_jaccard == pytest.approx(expected)
    assert (second.layer, second.n_a, second.n_b, second.jaccard, second.p_value) == (1, 1, 0, 0.0, 1.0)


def test_empty_sets_have_no_jaccard() -> None:
    rows = overlaps({"a": {"en": ffn()}, "b": {"en": ffn()}})
    assert all(row.jaccard is None and row.chance_jaccard is None and row.p_value == 1 for row in rows)


def test_every_pair_of_methods() -> None:
    sets = {"en": ffn(l0=[1]), "sw": ffn(l1=[2])}
    rows = overlaps({"a": sets, "b": sets, "c": sets})
    assert [(r.method_a, r.method_b, r.language) for r in rows if r.layer is None] == [
        (a, b, language) for a, b in (("a", "b"), ("a", "c"), ("b", "c")) for language in ("en", "sw")
    ]
    table = overlap_table(rows)
    assert table.schema.equals(OVERLAP_SCHEMA) and table.num_rows == 6 * 3
    assert table["layer"].null_count == 6 and table["jaccard"].null_count == 6


def test_only_the_named_group_counts() -> None:
    many = NeuronSet.from_indices("m", {"q": 4, "ffn": 10}, 2, {(0, "q"): [1], (0, "ffn"): [0]})
    row = overlaps({"a": {"en": many}, "b": {"en": ffn(l0=[0])}})[0]
    assert (row.n_a, row.n_common, row.jaccard) == (1, 1, 1.0)
    with pytest.raises(SetError, match="width of group 'q'"):
        overlaps({"a": {"en": many}, "b": {"en": ffn(l0=[0])}}, group="q")
    with pytest.raises(SetError, match="cannot be combined"):
        overlaps({"a": {"en": ffn(width=11)}, "b": {"en": ffn()}})
