"""Are two stores the same result? Table by table and row by row, whatever run wrote them.

`runs`, `studies` and the column `run_id` are left out: they say when and by whom, not what. Rows are put in the order of
each table's key, so the order in which units were done does not matter.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.types as kinds

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


def first_difference(
    left: Store, right: Store, tables: Iterable[str] | None = None, ignore: Iterable[str] = ("run_id",)
) -> Difference | None:
    """The first row in which the stores differ, in the order of `polyneuron.eval.store.schemas.TABLES`, or None.

    Floats are compared by their bits. Ignore `unit` as well to compare studies whose settings differ without changing
    results. Raises StoreError for an unknown table and for stores that cannot be read.
    """
    ignored = frozenset(ignore)
    for table in TABLES if tables is None else tables:
        spec = table_spec(table)
        if spec.about_runs and tables is None:
            continue
        if found := _difference(spec, _ordered(spec, left, ignored), _ordered(spec, right, ignored)):
            return found
    return None


def _ordered(spec: TableSpec, store: Store, ignored: frozenset[str]) -> pa.Table:
    rows = store.read(spec.name).drop_columns(sorted(ignored & set(spec.schema.names)))
    keys = [name for name in (*spec.key, "unit") if name in rows.column_names]
    return rows.sort_by([(name, "ascending") for name in keys])


def _difference(spec: TableSpec, left: pa.Table, right: pa.Table) -> Difference | None:
    n = min(len(left), len(right))
    places = [(_first(left[name].slice(0, n), right[name].slice(0, n)), name) for name in left.column_names]
    at, column = min(places, key=lambda place: place[0])
    if at == n and len(left) == len(right):
        return None
    reason = f"row {at} differs in column {column}" if at < n else f"{len(left)} rows against {len(right)}"
    return Difference(spec.name, reason, _row(left, at), _row(right, at))


def _first(left: pa.ChunkedArray, right: pa.ChunkedArray) -> int:
    """The first row in which two columns of one length differ; their length where none does."""
    a, b = _bits(left.combine_chunks()), _bits(right.combine_chunks())
    if a.equals(b):
        return len(a)
    pairs = zip(a.to_pylist(), b.to_pylist(), strict=True)
    return next(i for i, (x, y) in enumerate(pairs) if x != y)


def _bits(values: pa.Array) -> pa.Array:
    """Floats as integers of the same bits, in lists too."""
    if not kinds.is_list(values.type):
        return values.view(_UNSIGNED[values.type]) if values.type in _UNSIGNED else values
    return pa.ListArray.from_arrays(values.offsets, _bits(values.values), mask=values.is_null())


def _row(table: pa.Table, index: int) -> dict[str, Any] | None:
    return table.slice(index, 1).to_pylist()[0] if index < len(table) else None
