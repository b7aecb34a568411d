"""Makes an Arrow table fit the declared schema of its store table exactly, or says which column does not and
why."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from polyneuron.eval.store.schemas import TableSpec
from polyneuron.neuron_core.common.errors import StoreError

Constant = str | int | None


def conform(spec: TableSpec, table: pa.Table, constants: Mapping[str, Constant]) -> pa.Table:
    """`table` with exactly the columns, order, types and metadata of `spec.schema`, in one chunk, rows in the
    given order.

    `constants` are columns with one value in every row (run_id, unit, partitions): absent ones are filled in,
    present ones must hold that value. Integers and floats may change width if no value is lost (a float may
    round to float32); no type becomes another. Raises StoreError naming the column when one is missing,
    unknown, of another type, null or NaN.
    """
    duplicates = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if duplicates:
        raise StoreError(
            f"A table for {spec.name} has the column {_names(duplicates)} twice. Give each column one name."
        )
    extra = [name for name in (*table.column_names, *constants) if name not in spec.schema.names]
    missing = [name for name in spec.schema.names if name not in table.column_names and name not in constants]
    if extra or missing:
        parts = [f"lacks {_names(missing)}"] * bool(missing) + [f"has the unknown {_names(extra)}"] * bool(
            extra
        )
        raise StoreError(
            f"A table for {spec.name} {' and '.join(parts)}. "
            f"The columns of {spec.name} are: {', '.join(spec.schema.names)}."
        )
    columns = []
    for field in spec.schema:
        if field.name not in table.column_names:
            columns.append(_filled(constants[field.name], field, table.num_rows))
            continue
        column = _cast(spec, table[field.name], field)
        if field.name in constants:
            _require_constant(spec, field.name, column, constants[field.name])
        columns.append(column)
    for field, column in zip(spec.schema, columns, strict=True):
        _require_scored(spec, field.name, column)
    return pa.Table.from_arrays(columns, schema=spec.schema)


def _filled(value: Constant, field: pa.Field, n_rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, field.type), n_rows)


def _cast(spec: TableSpec, column: pa.ChunkedArray, field: pa.Field) -> pa.Array:
    if not _same_kind(column.type, field.type):
        raise StoreError(f"Column {field.name} of {spec.name} must be {field.type}, not {column.type}.")
    try:
        array = column.cast(field.type).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise StoreError(f"Column {field.name} of {spec.name} does not fit {field.type}: {reason}") from error
    return array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)


def _same_kind(given: pa.DataType, wanted: pa.DataType) -> bool:
    if kinds.is_dictionary(given):
        return _same_kind(given.value_type, wanted)
    if kinds.is_null(given) or given == wanted:
        return True
    if kinds.is_integer(wanted):
        return bool(kinds.is_integer(given))
    if kinds.is_floating(wanted):
        return bool(kinds.is_floating(given) or kinds.is_integer(given))
    if kinds.is_string(wanted):
        return bool(kinds.is_large_string(given) or kinds.is_string_view(given))
    if kinds.is_list(wanted):
        list_like = kinds.is_list(given) or kinds.is_large_list(given) or kinds.is_fixed_size_list(given)
        return bool(list_like and _same_kind(given.value_type, wanted.value_type))
    return False


def _require_constant(spec: TableSpec, name: str, column: pa.Array, value: Constant) -> None:
    others = [found for found in pc.unique(column).to_pylist() if found != value]
    if others:
        raise StoreError(
            f"Column {name} of {spec.name} holds {others[0]!r}, but the unit is written as {name}={value!r}. "
            f"Write the rows of each {name} as their own unit."
        )


def _require_scored(spec: TableSpec, name: str, column: pa.Array) -> None:
    if column.null_count and name not in spec.optional:
        row = pc.index(pc.is_null(column), True).as_py()
        raise StoreError(
            f"Column {name} of {spec.name} is null in {column.null_count} rows, first in row {row}. "
            "It must hold a value in every row."
        )
    values = column.flatten() if kinds.is_list(column.type) else column
    if kinds.is_floating(values.type) and pc.any(pc.is_nan(values)).as_py():
        raise StoreError(
            f"Column {name} of {spec.name} holds NaN. Store what was not measured as null, with its reason."
        )


def _names(names: list[str]) -> str:
    return ("column " if len(names) == 1 else "columns ") + ", ".join(names)
