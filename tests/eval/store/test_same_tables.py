"""Two stores are the same result, or the first row that says otherwise is shown."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polyneuron.eval.store.same_tables import first_difference
from polyneuron.eval.store.store import Store
from tests.eval.store_rows import MODEL, impacts, listed_units, metrics, run_row


def stores(tmp_path: Path, **changed: Any) -> tuple[Store, Store]:
    """The same study twice: other runs, folders and row order; `changed` columns in the second's sw rows."""
    a, b = Store(tmp_path / "a"), Store(tmp_path / "b")
    a.write("runs", run_row("ra"), "run-a")
    b.write("runs", run_row("rb"), "run-b")
    a.write("studies", listed_units(("impacts", "u-en")), "ra", {"model": MODEL}, "ra")
    for language in ("en", "sw"):
        a.write("impacts", impacts(language), f"u-{language}", {"model": MODEL, "language": language}, "ra")
        rows = impacts(language, **(changed if language == "sw" else {}))
        b.write("impacts", rows.take([3, 1, 0, 2]), f"u-{language}", {"model": MODEL}, "rb")
    return a, b


def test_runs_folders_and_order_do_not_matter(tmp_path: Path) -> None:
    a, b = stores(tmp_path)
    assert first_difference(a, b) is None
    for table in ("runs", "studies"):
        found = first_difference(a, b, tables=[table])
        assert found and found.table == table


def test_one_bit_of_one_float_is_found(tmp_path: Path) -> None:
    values = np.array([0.5, 1.5, 2.5, 3.5], np.float32)
    values[2] = np.nextafter(values[2], np.float32(9))
    a, b = stores(tmp_path, impact_min=pa.array(values))
    found = first_difference(a, b)
    assert found and found.table == "impacts" and found.left and found.right
    assert (found.left["language"], found.left["neuron"]) == ("sw", 2)
    assert found.right["impact_min"] > found.left["impact_min"]
    assert "row 6 differs in column impact_min" in str(found)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("impact_mean", pa.array([1.5, None, 3.5, None], pa.float32())),
        ("impact_smallest", [[0.25, 0.5], [1.25, 1.5], [2.25, 2.75], None]),
        ("impact_smallest", [[0.25, 0.5], [1.25, 1.5], [2.25], None]),
        ("impact_smallest", [[0.25, 0.5], [1.25, 1.5], None, None]),
        ("impact_smallest", [[0.25, 0.5], [1.25, 1.5], [2.25, 2.5], []]),
        ("bounded", [False, False, True, True]),
        ("group", ["q", "q", "q", "v"]),
    ],
)
def test_every_kind_of_column_is_compared(tmp_path: Path, column: str, values: Any) -> None:
    a, b = stores(tmp_path, **{column: values})
    found = first_difference(a, b)
    assert found and f"column {column}" in found.reason
    assert found.left and found.right and found.left[column] != found.right[column]


def test_negative_zero_is_not_zero(tmp_path: Path) -> None:
    a, b = Store(tmp_path / "a"), Store(tmp_path / "b")
    a.write("metrics", metrics([0.0]), "u", {"model": MODEL}, "r")
    b.write("metrics", metrics([-0.0]), "u", {"model": MODEL}, "r")
    assert first_difference(a, b) is not None


def test_missing_rows_are_shown(tmp_path: Path) -> None:
    a, b = stores(tmp_path)
    b.write("metrics", metrics([1.0, None]), "m", {"model": MODEL}, "r")
    found = first_difference(a, b)
    assert found and found.reason == "0 rows against 2" and found.left is None
    assert found.right and found.right["metric"] == "m0"
    assert first_difference(a, b, tables=["impacts"]) is None


def test_units_count_unless_ignored(tmp_path: Path) -> None:
    a, b = Store(tmp_path / "a"), Store(tmp_path / "b")
    a.write("metrics", metrics([1.0]), "one", {"model": MODEL}, "r")
    b.write("metrics", metrics([1.0]), "two", {"model": MODEL}, "r")
    found = first_difference(a, b)
    assert found and "column unit" in found.reason
    assert first_difference(a, b, ignore=("run_id", "unit")) is None
