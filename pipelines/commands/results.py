"""The commands that read what a store holds: `report`, `export` and `query`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from polyneuron.pipelines.commands.options import DEFAULT_CONFIG, ConfigOption, Overrides, loaded
from polyneuron.pipelines.config.load import load_study
from polyneuron.pipelines.run.ending import keep_tracebacks_beside


def report(config: ConfigOption = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Write the report of what the store holds; does no model work."""
    from polyneuron.eval.store.store import Store
    from polyneuron.pipelines.study import write_study_report

    resolved = loaded(load_study, config, overrides)
    print(write_study_report(resolved, Store(resolved.store)))


def export(
    variant: Annotated[str, typer.Argument(help="A trained variant, such as tuned-shared-sw.")],
    folder: Annotated[Path, typer.Argument(help="Where to; must be empty or not exist.")],
    config: ConfigOption = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Write a trained variant as a Hugging Face folder."""
    from polyneuron.pipelines.export_variant import export_variant

    print(export_variant(loaded(load_study, config, overrides), variant, folder))


def query(
    sql: Annotated[str, typer.Argument(help="A SELECT over the store's tables.")],
    store: Annotated[str, typer.Option(help="The store's folder or URL.")] = "stores/smollm2",
) -> None:
    """Ask the store in SQL (DuckDB, read-only)."""
    from polyneuron.eval.store.query import query as run_query
    from polyneuron.eval.store.store import Store

    keep_tracebacks_beside(store)
    columns, rows = run_query(Store(store), sql)
    table = Table(*(Column(Text(name)) for name in columns))
    for row in rows:
        table.add_row(*(Text("null" if value is None else str(value)) for value in row))
    Console().print(table)
