"""How a table of the store is declared: its columns, taken from where its rows are made, and what names a row.

Every table also holds `run_id` (the run that wrote the row) and `unit` (the unit of work it belongs to; in `studies`, the
unit that the row lists). A value that was not scored is null, never 0 and never NaN. The Arrow fields all stay nullable,
so that tables read back combine with tables built elsewhere: which may hold nulls is a rule for writing.
"""

import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.types as kinds

SCHEMA_VERSION = 3
"""Version of all tables together: what is written with another one is refused."""

_KINDS = {str: "string", bool: "bool", int: "int64", float: "double"}
"""Arrow's names of the types that the fields of a record take."""

Columns: TypeAlias = Mapping[str, pa.DataType]
"""Types by name; a name with a question mark may hold nulls."""


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table. `key`: columns that name a row within one unit of work; `optional`: columns that may hold nulls."""

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    optional: frozenset[str]

    @property
    def about_runs(self) -> bool:
        """True for the tables that say what a run did (`runs`, `studies`), false for those of results."""
        return "run_id" in self.key

    @property
    def lists_units(self) -> bool:
        """True for `studies`, whose rows each name a unit of another table; else all rows of a file are of one unit."""
        return "unit" in self.key

    @property
    def partitioned_by_model(self) -> bool:
        """True for every table with a `model` column, that is all but `runs`."""
        return "model" in self.schema.names

    def table(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Rows as Arrow, each column of the declared type; all rows have the names of the first one. Without rows it has all
        columns but run_id and unit. Raises KeyError when a row lacks a name."""
        own = [name for name in self.schema.names if name not in ("run_id", "unit")]
        names = list(rows[0]) if rows else own
        declared = {field.name: field.type for field in self.schema}
        return pa.table({name: pa.array([row[name] for row in rows], declared.get(name)) for name in names})


def table_of(name: str, key: str, columns: Iterable[Columns]) -> TableSpec:
    """The table with these columns, in this order, after run_id and unit; of two of one name the first stands."""
    together: dict[str, pa.DataType] = dict.fromkeys(("run_id", "unit"), pa.string())
    for part in columns:
        together |= {column: kind for column, kind in part.items() if column not in together}
    fields = [pa.field(column.rstrip("?"), kind) for column, kind in together.items()]
    metadata = {"polyneuron.table": name, "polyneuron.schema_version": str(SCHEMA_VERSION)}
    optional = frozenset(column[:-1] for column in together if column.endswith("?"))
    return TableSpec(name, pa.schema(fields, metadata=metadata), tuple(key.split()), optional)


def each(kind: str, names: str) -> Columns:
    """Columns of one type, by its Arrow name, named in one text."""
    return dict.fromkeys(names.split(), pa.type_for_alias(kind))


def of_schema(schema: pa.Schema, optional: str = "") -> Columns:
    """The columns of an Arrow schema; `optional` names those that may hold nulls. Lists are stored with any length."""
    return {
        field.name + "?" * (field.name in optional.split()): pa.list_(field.type.value_type)
        if kinds.is_fixed_size_list(field.type)
        else field.type
        for field in schema
    }


def of_record(record: type, **changed: str) -> Columns:
    """The fields of a dataclass: integers and floats of 64 bits, but for those `changed`; those that may be None, nulls."""
    columns = {}
    for name, hint in typing.get_type_hints(record).items():
        alternatives = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        kind = pa.type_for_alias(changed.get(name, _KINDS[alternatives[0]]))
        columns[name + "?" * (types.NoneType in alternatives)] = kind
    return columns
