"""`polyneuron query`: SQL over a store, for people and for programs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyneuron.eval.tables.answer_format import AnswerFormat
from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.neuron_core.common.files import write_whole
from polyneuron.pipelines.commands.options import STORE, Output, StoreOption
from polyneuron.pipelines.run.ending import keep_tracebacks_beside, leave_stdout

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

_OF_SUFFIX = {".csv", ".json", ".md", ".parquet"}
_VERTICAL_ROWS = 10


def query(
    sql: Annotated[str, typer.Argument(help="A SELECT over the store's tables.")],
    store: StoreOption = STORE,
    form: Annotated[
        AnswerFormat | None,
        typer.Option(
            "--format",
            help="Left out: a box on a terminal (lines where it is too wide), what the file's name says, else csv.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many rows.")] = None,
    output: Output = None,
) -> None:
    """Ask the store in SQL (DuckDB, read-only). All rows are written as they come, but a box holds 10,000 at most."""
    from polyneuron.eval.store.query import answered
    from polyneuron.eval.store.store import Store

    keep_tracebacks_beside(store)
    form = form or (None if output is None else _format_of(output))
    with answered(Store(store), sql) as answer:
        put_out(answer if limit is None else answer.limit(limit), form, output, whole=limit is not None)


def put_out(answer: DuckDBPyRelation, form: AnswerFormat | None, output: Path | None, *, whole: bool) -> None:
    """Writes an answer to a file or to standard output, and says on standard error where there are no rows. A reader that leaves
    ends nothing. `whole`: a terminal gets all rows, not the first and the last ones.

    Raises ConfigError for Parquet on a terminal, and SetError for a file that cannot be written."""
    from polyneuron.eval.tables.answers import write_answer

    if output is not None:
        n_rows = list[int]()

        def write(path: Path) -> None:
            with path.open("wb") as sink:
                n_rows.append(write_answer(answer, form or _format_of(output), sink))

        write_whole(output, write, "answer")
        return _say_if_none(*n_rows)
    on_terminal = sys.stdout.isatty()
    if on_terminal and form is AnswerFormat.parquet:
        raise ConfigError("Parquet is not for reading: name a file with -o")
    try:
        sys.stdout.flush()
        if on_terminal and form in (None, AnswerFormat.table):
            n = _show(answer, form, whole=whole)
        else:
            n = write_answer(answer, form or AnswerFormat.csv, sys.stdout.buffer, sys.stdout.encoding)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        return leave_stdout()
    _say_if_none(n)


def _show(answer: DuckDBPyRelation, form: AnswerFormat | None, *, whole: bool) -> int:
    """Draws a box, or writes lines where no format was asked for and a column would have to go."""
    from polyneuron.eval.tables.answers import MOST_IN_A_BOX, box, box_width, write_answer

    rows = answer.limit(MOST_IN_A_BOX).materialize()
    n_rows, width = len(rows), shutil.get_terminal_size().columns
    most_rows = n_rows if whole else None
    sink, encoding = sys.stdout.buffer, sys.stdout.encoding
    if n_rows and form is None and box_width(rows, most_rows) > width:
        write_answer(rows if whole else rows.limit(_VERTICAL_ROWS), AnswerFormat.line, sink, encoding)
        if n_rows > _VERTICAL_ROWS and not whole:
            sys.stdout.flush()
            print(
                f"These are the first {_VERTICAL_ROWS} rows; --limit N shows N, -o FILE keeps all",
                file=sys.stderr,
            )
    else:
        sink.write(box(rows, most_rows, width).encode(encoding, "backslashreplace"))
    return n_rows


def _format_of(output: Path) -> AnswerFormat:
    if output.suffix.lower() not in _OF_SUFFIX:
        raise ConfigError(
            f"The name {output} does not say what to write: let it end in {', '.join(sorted(_OF_SUFFIX))}, or say --format"
        )
    return AnswerFormat(output.suffix.lower()[1:])


def _say_if_none(n_rows: int) -> None:
    if not n_rows:
        print("0 rows", file=sys.stderr)
