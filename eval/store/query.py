"""SQL over a store through DuckDB: one view per table, nothing else within reach."""

from typing import Any

from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError

_LOCKDOWN = (
    "SET temp_directory=''",
    "SET python_enable_replacements=false",
    "SET enable_external_access=false",
    "SET lock_configuration=true",
)


def query(store: Store, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Runs one SELECT and returns the names of its columns and its rows. An empty table is an empty view.

    The connection is in memory and cannot read or write files, load extensions, or see Python variables.
    Raises StoreError when the SQL is not one valid SELECT (listing tables and columns), and as `Store.check`.
    """
    import duckdb

    datasets = {table: store.dataset(table) for table in TABLES}
    with duckdb.connect(":memory:") as connection:
        for table, dataset in datasets.items():
            connection.register(table, dataset)
        for setting in _LOCKDOWN:
            connection.execute(setting)
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise StoreError(f"Only one SELECT can be asked of a store.\n{_catalogue()}")
            rows = connection.execute(statements[0]).fetchall()
            return [column[0] for column in connection.description or ()], rows
        except duckdb.Error as error:
            for dataset in datasets.values():
                store.raise_if_unreadable(dataset)
            raise StoreError(f"The query cannot be run: {str(error).strip()}\n{_catalogue()}") from error


def _catalogue() -> str:
    lines = [f"  {name}({', '.join(spec.schema.names)})" for name, spec in TABLES.items()]
    return "\n".join(["The tables are:", *lines])
