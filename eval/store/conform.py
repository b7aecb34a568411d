"""Makes an Arrow table fit the declared schema of its store table exactly, or says which column does not and why."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from polyneuron.eval.store.table_spec import TableSpec
from polyneuron.neuron_core.common.errors import StoreError

Constant = str | int | None


def conform(spec: TableSpec, table: pa.Table, constants: Mapping[str, Constant]) -> pa.Table:
    """`table` with exactly the columns, order, types and metadata of `spec.schema`, in one chunk, rows in the given order.

    `constants` are columns with one value in every row (run_id, unit, partitions): absent ones are filled in, present ones must
    hold that value. Integers and floats may change width if no value is lost (a float may round to float32); no type becomes
    another. Raises StoreError naming the column when one is missing, unknown, of another type, null or NaN.
    """
    given = table.column_names
    if doubled := sorted({name for name in given if given.count(name) > 1}):
        raise StoreError(
            f"A table for {spec.name} has the column {_names(doubled)} twice. Give each column one name."
        )
    unknown = [name for name in (*given, *constants) if name not in spec.schema.names]
    missing = [name for name in spec.schema.names if name not in given and name not in constants]
    if unknown or missing:
        faults = [f"lacks {_names(missing)}"] * bool(missing)
        faults += [f"has the unknown {_names(unknown)}"] * bool(unknown)
        raise StoreError(
            f"A table for {spec.name} {' and '.join(faults)}. "
            f"The columns of {spec.name} are: {', '.join(spec.schema.names)}."
        )
    columns = []
    for field in spec.schema:
        if field.name in given:
            column = _cast(spec, table[field.name], field)
            if field.name in constants:
                _require_constant(spec, field.name, column, constants[field.name])
        else:
            column = pa.repeat(pa.scalar(constants[field.name], field.type), table.num_rows)
        _require_scored(spec, field.name, column)
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=spec.schema)


def _cast(spec: TableSpec, column: pa.ChunkedArray, field: pa.Field) -> pa.Array:
    kind = _kind(column.type)
    if _kind(field.type) not in (kind, kind.replace("integer", "number")) and kind != "null":
        raise StoreError(f"Column {field.name} of {spec.name} must be {field.type}, not {column.type}.")
    try:
        return pa.concat_arrays(column.cast(field.type).chunks or [pa.array([], field.type)])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise StoreError(f"Column {field.name} of {spec.name} does not fit {field.type}: {reason}") from error


def _kind(of: pa.DataType) -> str:
    if kinds.is_list(of) or kinds.is_fixed_size_list(of):
        return f"list of {_kind(of.value_type)}"
    if kinds.is_integer(of):
        return "integer"
    return "number" if kinds.is_floating(of) else str(of)


def _require_constant(spec: TableSpec, name: str, column: pa.Array, value: Constant) -> None:
    others = [other for other in pc.unique(column).to_pylist() if other != value]
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
