"""SQL over a store through DuckDB: one view per table, nothing else within reach."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds

from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

_LOCKDOWN = (
    "SET temp_directory=''",
    "SET python_enable_replacements=false",
    "SET enable_external_access=false",
    "SET lock_configuration=true",
)


_MOST_TABLES, _LONGEST_REASON = 3, 500
_ROWS_AT_A_TIME = 1 << 15


class _InOrder(ds.FileSystemDataset):
    """Files that are decoded as a query asks for rows. Arrow would read ahead, and keep every file's footer."""

    def scanner(self, **options: Any) -> ds.Scanner:
        """What DuckDB reads from; `options` are the columns and the filter that it wants."""
        return super().scanner(
            batch_size=_ROWS_AT_A_TIME,
            batch_readahead=0,
            fragment_readahead=0,
            use_threads=False,
            cache_metadata=False,
            **options,
        )


def _in_order(dataset: ds.Dataset) -> ds.Dataset:
    if not isinstance(dataset, ds.FileSystemDataset):
        return dataset
    return _InOrder(list(dataset.get_fragments()), dataset.schema, dataset.format, dataset.filesystem)


def query(store: Store, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Runs one SELECT and returns the names of its columns and all its rows; see `answered`."""
    with answered(store, sql) as answer:
        return list(answer.columns), answer.fetchall()


@contextmanager
def answered(store: Store, sql: str) -> Iterator[DuckDBPyRelation]:
    """The answer to one SELECT, which is computed as it is read inside the block. An empty table is an empty view.

    The connection is in memory and cannot read or write files, load extensions, or see Python variables. Files of tables that
    the SQL does not name are not looked at.
    Raises StoreError when the SQL is not one valid SELECT or fails while the block reads (listing tables and columns), and as
    `Store.require_marker` and `Store.dataset`.
    """
    import duckdb

    store.require_marker()
    named = _named(sql)
    datasets = {
        table: _in_order(store.dataset(table)) if table in named else ds.dataset(spec.schema.empty_table())
        for table, spec in TABLES.items()
    }
    with duckdb.connect(":memory:") as connection:
        for table, dataset in datasets.items():
            connection.register(table, dataset)
        for setting in _LOCKDOWN:
            connection.execute(setting)
        try:
            sql.encode()  # raises ValueError where bytes of a command line are no text
            statements = connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise StoreError(f"Only one SELECT can be asked of a store.\n{_catalogue(sql)}")
            yield connection.sql(sql)
        except BrokenPipeError:
            raise
        except (duckdb.Error, pa.ArrowException, OSError, ValueError, OverflowError) as error:
            # the last two where a value or a text fits no Python type
            for dataset in datasets.values():
                store.raise_if_unreadable(dataset)
            if isinstance(error, OSError):
                raise StoreError(f"The answer cannot be written: {error}") from error
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
