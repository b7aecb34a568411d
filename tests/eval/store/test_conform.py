"""Only tables that fit the declared schema get into the store; the message names the column."""

from typing import Any

import pyarrow as pa
import pytest

from polyneuron.eval.store.conform import conform
from polyneuron.eval.store.schemas import IMPACTS, METRICS
from polyneuron.neuron_core.common.errors import StoreError
from tests.eval.store_rows import impacts, metrics

MARKS = {"unit": "u", "run_id": "r"}


def test_columns_are_ordered_cast_and_filled() -> None:
    rows = impacts("en", layer=pa.array([0] * 4, pa.int64()), impact_min=pa.array([0.5, 1.5, 2.5, 3.5]))
    wide = rows.select(list(reversed(rows.column_names)))
    found = conform(IMPACTS, wide.drop_columns(["model"]), MARKS | {"model": "m"})
    assert found.schema.equals(IMPACTS.schema, check_metadata=True)
    assert found["model"].to_pylist() == ["m"] * 4 and found["unit"].to_pylist() == ["u"] * 4
    assert found["impact_smallest"].to_pylist() == rows["impact_smallest"].to_pylist()
    assert all(column.num_chunks == 1 for column in found.columns)


@pytest.mark.parametrize("column", ["impact_min", "language", "bounded"])
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(StoreError, match=f"lacks column {column}"):
        conform(IMPACTS, impacts("en").drop_columns([column]), MARKS)


def test_an_extra_column_and_a_doubled_one_are_named() -> None:
    with pytest.raises(StoreError, match="unknown column impact_sum"):
        conform(IMPACTS, impacts("en", impact_sum=pa.nulls(4)), MARKS)
    rows = impacts("en")
    with pytest.raises(StoreError, match="column layer twice"):
        conform(IMPACTS, rows.append_column("layer", rows["layer"]), MARKS)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("layer", ["0", "1", "2", "3"], "layer of impacts must be int32, not string"),
        ("layer", [0.0, 1.0, 2.0, 3.0], "must be int32, not double"),
        ("neuron", [0, 1, 2, 2**40], "neuron of impacts does not fit int32"),
        ("impact_min", [1.0, None, 3.0, 4.0], "impact_min of impacts is null in 1 rows, first in row 1"),
        ("impact_mean", [1.0, float("nan"), 3.0, 4.0], "impact_mean of impacts holds NaN"),
        ("impact_smallest", [[1.0], [float("nan")], None, None], "impact_smallest of impacts holds NaN"),
        ("bounded", [0, 1, 0, 1], "bounded of impacts must be bool"),
    ],
)
def test_values_that_do_not_fit_are_refused(column: str, values: list[Any], message: str) -> None:
    rows = impacts("en")
    rows = rows.set_column(rows.column_names.index(column), column, pa.array(values))
    with pytest.raises(StoreError, match=message):
        conform(IMPACTS, rows, MARKS)


def test_a_constant_must_be_what_the_column_holds() -> None:
    with pytest.raises(StoreError, match="language of impacts holds 'en'"):
        conform(IMPACTS, impacts("en"), MARKS | {"language": "sw"})


def test_a_column_without_any_value_takes_the_declared_type() -> None:
    rows = metrics([None, None])
    assert rows["language"].type == pa.null()
    conformed = conform(METRICS, rows, MARKS)
    assert conformed["value"].null_count == 2 and conformed["metric"].to_pylist() == ["m0", "m1"]
    assert conformed["language"].type == pa.string()


@pytest.mark.parametrize("column", ["impact_smallest", "impact_min"])
def test_integers_become_numbers_and_lists_of_fixed_length_lists(column: str) -> None:
    whole = {"impact_min": [0, 1, 2, 3], "impact_smallest": pa.array([[0, 1]] * 4, pa.list_(pa.int64(), 2))}
    conformed = conform(IMPACTS, impacts("en", **{column: whole[column]}), MARKS)
    assert conformed[column].to_pylist() == pa.array(whole[column]).to_pylist()


def test_no_rows_is_a_result() -> None:
    found = conform(IMPACTS, impacts("en").slice(0, 0), MARKS)
    assert len(found) == 0 and found.schema == IMPACTS.schema
