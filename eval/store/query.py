"""SQL over a store through DuckDB: one view per table, nothing else within reach."""

import re
from typing import Any

import pyarrow.dataset as ds

from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError

_LOCKDOWN = (
    "SET temp_directory=''",
    "SET python_enable_replacements=false",
    "SET enable_external_access=false",
    "SET lock_configuration=true",
)


_MOST_TABLES, _LONGEST_REASON = 3, 500


def query(store: Store, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Runs one SELECT and returns the names of its columns and its rows. An empty table is an empty view.

    The connection is in memory and cannot read or write files, load extensions, or see Python variables. Files of tables that
    the SQL does not name are not looked at.
    Raises StoreError when the SQL is not one valid SELECT (listing tables and columns), and as `Store.check_marker` and
    `Store.dataset`.
    """
    import duckdb

    store.check_marker()
    named = _named(sql)
    datasets = {
        table: store.dataset(table) if table in named else ds.dataset(spec.schema.empty_table())
        for table, spec in TABLES.items()
    }
    with duckdb.connect(":memory:") as connection:
        for table, dataset in datasets.items():
            connection.register(table, dataset)
        for setting in _LOCKDOWN:
            connection.execute(setting)
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise StoreError(f"Only one SELECT can be asked of a store.\n{_catalogue(sql)}")
            rows = connection.execute(statements[0]).fetchall()
            return [column[0] for column in connection.description or ()], rows
        except StoreError:
            raise
        except Exception as error:  # DuckDB's own, and Python's where a value or a text fits no Python type
            for dataset in datasets.values():
                store.raise_if_unreadable(dataset)
            raise StoreError(f"The query cannot be run: {_in_short(error)}\n{_catalogue(sql)}") from error


def _named(sql: str) -> list[str]:
    """The tables that a query can mean: those whose names stand in it, and all where it puts names together."""
    computed = re.search(r"\bquery(_table)?\b", sql, re.IGNORECASE)
    return [name for name in TABLES if computed or re.search(rf"\b{name}\b", sql, re.IGNORECASE)]


def _catalogue(sql: str) -> str:
    """The tables, and the columns of those that the query names."""
    lines = [f"The tables are: {', '.join(TABLES)}"]
    named = _named(sql)
    lines += [f"  {name}({', '.join(TABLES[name].schema.names)})" for name in named[:_MOST_TABLES]]
    return "\n".join(lines) if named else f"{lines[0]}. DESCRIBE and a table's name list its columns"


def _in_short(error: Exception) -> str:
    """DuckDB's words, without the lines that repeat the query."""
    return "\n".join(line for line in str(error).strip().splitlines() if line.strip())[:_LONGEST_REASON]
