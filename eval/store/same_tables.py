"""Are two stores the same result? Table by table and row by row, whatever run wrote them.

`runs`, `studies` and the column `run_id` are left out: they say when and by whom, not what. Rows are put in the order of
each table's key, so the order in which units were done does not matter.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds
from numpy.typing import NDArray

from polyneuron.eval.store.schemas import TABLES, table_spec
from polyneuron.eval.store.store import Store
from polyneuron.eval.store.table_spec import TableSpec

_UNSIGNED = {pa.float32(): pa.uint32(), pa.float64(): pa.uint64()}


@dataclass(frozen=True)
class Difference:
    """The first difference found: the two rows, or None where one store has no such row."""

    table: str
    reason: str
    left: dict[str, Any] | None = None
    right: dict[str, Any] | None = None

    def __str__(self) -> str:
        return f"{self.table}: {self.reason}\n  left:  {self.left}\n  right: {self.right}"


def tables_equal(left: Store, right: Store) -> bool:
    """True when both stores hold the same rows, bit for bit, in every table of results."""
    return first_difference(left, right) is None


def first_difference(
    left: Store,
    right: Store,
    tables: Iterable[str] | None = None,
    ignore: Iterable[str] = ("run_id",),
    relative_tolerance: float = 0.0,
) -> Difference | None:
    """The first row in which the stores differ, in the order of `polyneuron.eval.store.schemas.TABLES`, or None.

    Floats are compared by their bits; with a `relative_tolerance` r they may differ by r times the larger
    magnitude. Ignore `unit` as well to compare studies whose settings differ without changing results. Raises
    StoreError for an unknown table and for stores that cannot be read.
    """
    ignored = frozenset(ignore)
    for table in TABLES if tables is None else tables:
        spec = table_spec(table)
        if spec.about_runs and tables is None:
            continue
        found = _difference(
            spec, _ordered(spec, left, ignored), _ordered(spec, right, ignored), relative_tolerance
        )
        if found:
            return found
    return None


def _ordered(spec: TableSpec, store: Store, ignored: frozenset[str]) -> pa.Table:
    rows = store.read(spec.name).drop_columns(sorted(ignored & set(spec.schema.names)))
    keys = [name for name in (*spec.key, "unit") if name in rows.column_names]
    return rows.sort_by([(name, "ascending") for name in keys]).combine_chunks()


def _difference(spec: TableSpec, left: pa.Table, right: pa.Table, tolerance: float) -> Difference | None:
    n = min(len(left), len(right))
    first, column_name = n, ""
    for name in left.column_names:
        same = _same(_array(left[name])[:n], _array(right[name])[:n], tolerance)
        at = int(np.argmin(same)) if n and not same.all() else n
        if at < first:
            first, column_name = at, name
    if first < n:
        rows = _row(left, first), _row(right, first)
        return Difference(spec.name, f"row {first} differs in column {column_name}", *rows)
    if len(left) != len(right):
        return Difference(
            spec.name, f"{len(left)} rows against {len(right)}", _row(left, first), _row(right, first)
        )
    return None


def _same(left: pa.Array, right: pa.Array, tolerance: float) -> NDArray[np.bool_]:
    """[rows] True where the values agree; nulls agree with nulls only."""
    null_left, null_right = np.asarray(left.is_null()), np.asarray(right.is_null())
    if kinds.is_list(left.type):
        values = _same_lists(left, right, tolerance)
    elif kinds.is_floating(left.type):
        values = _same_floats(left, right, tolerance)
    else:
        values = np.asarray(pc.fill_null(pc.equal(left, right), False))
    return np.where(null_left | null_right, null_left == null_right, values)


def _same_floats(left: pa.Array, right: pa.Array, tolerance: float) -> NDArray[np.bool_]:
    if tolerance:
        x, y = (np.asarray(pc.fill_null(side, 0), np.float64) for side in (left, right))
        return np.asarray((x == y) | (np.abs(x - y) <= tolerance * np.maximum(np.abs(x), np.abs(y))))
    bits = (pc.fill_null(side, 0).view(_UNSIGNED[side.type]) for side in (left, right))
    return np.asarray(pc.equal(*bits))


def _same_lists(left: pa.Array, right: pa.Array, tolerance: float) -> NDArray[np.bool_]:
    lengths = [np.asarray(pc.fill_null(pc.list_value_length(side), 0)) for side in (left, right)]
    same = np.asarray(lengths[0] == lengths[1])
    # Only rows of equal length are compared item by item; the rest are different already.
    items = [side.filter(pa.array(same)).flatten() for side in (left, right)]
    owner = np.repeat(np.flatnonzero(same), lengths[0][same])
    same[owner[~_same(items[0], items[1], tolerance)]] = False
    return same


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _row(table: pa.Table, index: int) -> dict[str, Any] | None:
    return table.slice(index, 1).to_pylist()[0] if index < len(table) else None
