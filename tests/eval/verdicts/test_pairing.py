"""Items are paired whatever their order, and only where both sides were asked the same."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from polyneuron.eval.verdicts.pairing import grouped, grouped_by_variant, paired
from tests.eval.store_rows import samples


def reason(left: pa.Table, right: pa.Table) -> str:
    found = paired(left, right)
    assert isinstance(found, str)
    return found


def test_values_are_those_of_the_same_items_in_any_order() -> None:
    where = {"task": ["a", "b", "a", "b", "c"], "item": [0, 0, 1, 1, 0]}
    left, right = samples([0.0, 0.25, None, 1.0, 0.5], **where), samples([5.0, 6.0, 7.0, 8.0, 9.0], **where)
    for order, other in (([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]), ([3, 1, 4, 0, 2], [2, 0, 3, 4, 1])):
        found = paired(left.take(order), right.take(other))
        assert not isinstance(found, str)
        both = dict(zip(found[1].tolist(), found[0].tolist(), strict=True))
        assert np.isnan(both.pop(7.0)) and both == {5.0: 0.0, 6.0: 0.25, 8.0: 1.0, 9.0: 0.5}


@pytest.mark.parametrize(
    ("column", "words"),
    [("doc_hash", "the item"), ("prompt_hash", "the prompt"), ("tokens_hash", "the prompt's token ids")],
)
def test_another_question_is_no_pair(column: str, words: str) -> None:
    left, right = samples([1.0, 0.0], **{column: ["same", "x"]}), samples([1.0, 0.0], **{column: "same"})
    assert reason(left, right) == f"not the same question was asked; what differs: {words} (1 of 2)"


def test_items_of_one_side_only_are_counted() -> None:
    five, three = samples([1.0] * 5), samples([1.0] * 3)
    assert reason(five, three) == "2 items are in one of the two only (2 here, 0 in the baseline)"
    assert reason(three, five) == "2 items are in one of the two only (0 here, 2 in the baseline)"
    same_numbers = samples([1.0, 0.0], task=["a", "b"]), samples([1.0, 0.0], task=["a", "a2"])
    assert reason(*same_numbers) == "2 items are in one of the two only (1 here, 1 in the baseline)"


def test_an_item_twice_is_no_pair() -> None:
    twice = pa.concat_tables([samples([1.0, 0.0])] * 2)
    assert reason(twice, samples([1.0, 0.0])) == "2 items occur more than once"
    assert reason(samples([1.0, 0.0]), twice) == "2 items occur more than once"


def test_groups_are_benchmark_language_metric_and_filter() -> None:
    table = pa.concat_tables(
        [
            samples([0.0, 1.0]),
            samples([2.0], language="th"),
            samples([3.0], metric="f1"),
            samples([4.0], benchmark="xquad"),
            samples([5.0], filter="strict"),
        ]
    ).take([5, 0, 4, 2, 1, 3])
    found = {key: rows["value"].to_pylist() for key, rows in grouped(table).items()}
    assert found == {
        ("xnli", "sw", "acc", "none"): [0.0, 1.0],
        ("xnli", "th", "acc", "none"): [2.0],
        ("xnli", "sw", "f1", "none"): [3.0],
        ("xquad", "sw", "acc", "none"): [4.0],
        ("xnli", "sw", "acc", "strict"): [5.0],
    }
    assert grouped(table.slice(0, 0)) == {}


def test_the_items_of_each_variant_are_those_that_its_rows_alone_give() -> None:
    tables = [samples([float(i), 1.0], name) for i, name in enumerate(("base", "shared", "own"))]
    mixed = pa.concat_tables(tables).take([5, 0, 3, 1, 4, 2])
    found = grouped_by_variant(mixed)
    assert found.keys() == {"base", "shared", "own"}
    for name, items in found.items():
        assert items == grouped(mixed.filter(pc.field("variant") == name))
    assert grouped_by_variant(mixed.slice(0, 0)) == {}
