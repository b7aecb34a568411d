"""The commands that show neurons: `neurons` lists those of a set."""

from pathlib import Path
from typing import Annotated

import typer

from polyneuron.eval.tables.answer_format import AnswerFormat
from polyneuron.pipelines.commands.options import StoreOption
from polyneuron.pipelines.commands.query import put_out
from polyneuron.pipelines.run.ending import keep_tracebacks_beside

ModelOption = Annotated[
    str | None, typer.Option("--model", help="Which model, where the store holds several.")
]


def neurons(
    *,
    of_set: Annotated[str, typer.Option("--set", help="The name of a set, such as exclusive-th.")],
    store: StoreOption = "stores/smollm2",
    model: ModelOption = None,
    top: Annotated[int, typer.Option(min=1, help="At most so many, the largest impacts first.")] = 50,
    form: Annotated[
        AnswerFormat | None,
        typer.Option(
            "--format", help="Left out: a table on a terminal, what the file's name says, else csv."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
) -> None:
    """List the neurons of a set: impacts by language, rank, and the sets they are in."""
    import duckdb

    from polyneuron.eval.neurons.listing import StoredNeurons, studied
    from polyneuron.eval.store.store import Store

    keep_tracebacks_beside(store)
    rows = StoredNeurons(studied(Store(store), model)).listed(of_set, top)
    put_out(duckdb.from_arrow(rows), form, output, whole=True)
