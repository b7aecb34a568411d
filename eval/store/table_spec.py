"""How a table of the store is declared: its columns, taken from where its rows are made, and what names a row.

Every table also holds `run_id` (the run that wrote the row) and `unit` (the unit of work it belongs to; in `studies`, the
unit that the row lists). A value that was not scored is null, never 0 and never NaN. The Arrow fields all stay nullable,
so that tables read back combine with tables built elsewhere: which may hold nulls is a rule for writing.
"""

import ast
import inspect
import textwrap
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.types as kinds

from polyneuron.neuron_core.common.columns import Columns, arrow_type
from polyneuron.neuron_core.common.errors import StoreError

SCHEMA_VERSION = 3
"""Version of all tables together: what is written with another one is refused."""

_KINDS = {str: "string", bool: "bool", int: "int64", float: "double"}
"""Arrow's names of the types that the fields of a record take."""
INT32 = {"layer", "item"}
"""Fields of records that are stored in 32 bits, as other tables have them."""
_MARKS: Columns = {
    "run_id": ("string", "The run that wrote the row."),
    "unit": ("string", "The unit of work that the row belongs to."),
}


class Declared(NamedTuple):
    """One column. `says`: what it says, or the record whose source says it under the field."""

    kind: pa.DataType
    optional: bool
    says: str | type


@dataclass(frozen=True, kw_only=True, slots=True)
class TableSpec:
    """How one table is declared."""

    name: str
    """What it is called."""
    says: str
    """What a row is."""
    schema: pa.Schema
    """Its columns, run_id and unit first."""
    key: tuple[str, ...]
    """Columns that name a row within one unit of work."""
    optional: frozenset[str]
    """Columns that may hold nulls."""
    described: Mapping[str, str | type]
    """What each column says, or the record that says it."""

    def descriptions(self) -> dict[str, str]:
        """What each column says, in one line, in the order of the schema; empty where nobody wrote it."""
        records = {
            says: _said_under_fields(says) for says in self.described.values() if isinstance(says, type)
        }
        return {
            column: says if isinstance(says, str) else records[says].get(column, "")
            for column, says in self.described.items()
        }

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


def table_of(name: str, key: str, says: str, columns: Sequence[Columns | type]) -> TableSpec:
    """The table with these columns, in this order, after run_id and unit, of which they may say more; of two others of one name
    the first stands. A record stands for its fields. Lists are stored with any length."""
    declared = _of_columns(_MARKS)
    for part in columns:
        of_part = _of_record(part) if isinstance(part, type) else _of_columns(part)
        declared |= {name: of for name, of in of_part.items() if name in _MARKS or name not in declared}
    metadata = {"polyneuron.table": name, "polyneuron.schema_version": str(SCHEMA_VERSION)}
    return TableSpec(
        name=name,
        says=" ".join(says.split()),
        schema=pa.schema([(column, of.kind) for column, of in declared.items()], metadata=metadata),
        key=tuple(key.split()),
        optional=frozenset(column for column, of in declared.items() if of.optional),
        described={column: of.says for column, of in declared.items()},
    )


def _of_columns(columns: Columns) -> dict[str, Declared]:
    declared = {}
    for name, (kind, says) in columns.items():
        arrow = arrow_type(kind)
        stored = pa.list_(arrow.value_type) if kinds.is_fixed_size_list(arrow) else arrow
        declared[name.rstrip("?")] = Declared(stored, name.endswith("?"), says)
    return declared


def _of_record(record: type) -> dict[str, Declared]:
    """The fields of a dataclass, integers of 64 bits but for `INT32`; those that may be None may hold nulls."""
    declared = {}
    for name, hint in typing.get_type_hints(record).items():
        alternatives = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        kind = pa.int32() if name in INT32 else pa.type_for_alias(_KINDS[alternatives[0]])
        declared[name] = Declared(kind, types.NoneType in alternatives, record)
    return declared


def _said_under_fields(record: type) -> dict[str, str]:
    """The strings under the fields of a dataclass, each in one line."""
    declared = ast.parse(textwrap.dedent(inspect.getsource(record))).body[0]
    assert isinstance(declared, ast.ClassDef)
    return {
        ast.unparse(node.target): " ".join(str(under.value.value).split())
        for node, under in pairwise(declared.body)
        if isinstance(node, ast.AnnAssign)
        and isinstance(under, ast.Expr)
        and isinstance(under.value, ast.Constant)
    }


def require_version(version: int, where: str) -> None:
    """Raises StoreError when the file or folder `where` is not of this Polyneuron's schema version."""
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{where} was written with store schema version {version}; this Polyneuron reads version {SCHEMA_VERSION}. "
            f"Use a Polyneuron that reads version {version}, or another store folder."
        )
