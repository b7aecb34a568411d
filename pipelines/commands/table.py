"""`polyneuron table`: a study's result as a table, for a terminal, a page, a paper or a program."""

from enum import StrEnum
from typing import Annotated

import typer

from polyneuron.pipelines.commands.options import STORE, StoreOption
from polyneuron.pipelines.run.ending import keep_tracebacks_beside


class TableFormat(StrEnum):
    """How a table is written."""

    terminal = "terminal"
    md = "md"
    latex = "latex"
    json = "json"


def table(
    store: StoreOption = STORE,
    form: Annotated[
        TableFormat, typer.Option("--format", help="json has all numbers, not the table's alone.")
    ] = (TableFormat.terminal),
) -> None:
    """Print what a study found: sets, perplexities and p-values by language, and scores."""
    keep_tracebacks_beside(store)
    from polyneuron.eval.report.numbers.study import read_report
    from polyneuron.eval.report.results_file import results_json
    from polyneuron.eval.store.store import Store
    from polyneuron.eval.tables.latex import latex
    from polyneuron.eval.tables.text import escape_markdown, markdown

    opened = Store(store)
    opened.require_marker()
    report = read_report(opened)
    if form is TableFormat.terminal:
        from polyneuron.pipelines.run.outcome import print_summaries

        return print_summaries(report)
    if form is TableFormat.json:
        return print(results_json(report), end="")
    from polyneuron.eval.report.sections.summary import summary

    grids = [grid for study in report.studies for grid in summary(study)]
    if form is TableFormat.latex:
        return print("\n".join(map(latex, grids)), end="")
    print("\n".join(f"## {escape_markdown(grid.title)}\n\n{markdown(grid)}" for grid in grids), end="")
