"""The commands that show neurons: `neurons` lists those of a set, `neuron` has a page of one."""

from enum import StrEnum
from typing import Annotated

import typer

from polyneuron.eval.tables.answer_format import AnswerFormat
from polyneuron.pipelines.commands.options import (
    STORE,
    ModelInStore,
    Output,
    StoreOption,
    StudyInStore,
    spread,
)
from polyneuron.pipelines.commands.query import put_out
from polyneuron.pipelines.run.ending import keep_tracebacks_beside


def neurons(
    *,
    of_set: Annotated[str, typer.Option("--set", help="The name of a set, such as exclusive-th.")],
    store: StoreOption = STORE,
    model: ModelInStore = None,
    top: Annotated[int, typer.Option(min=1, help="At most so many, the largest impacts first.")] = 50,
    form: Annotated[
        AnswerFormat | None,
        typer.Option(
            "--format", help="Left out: a table on a terminal, what the file's name says, else csv."
        ),
    ] = None,
    output: Output = None,
) -> None:
    """List the neurons of a set: impacts by language, rank, and the sets they are in."""
    import duckdb

    from polyneuron.eval.neurons.listing import StoredNeurons, studied
    from polyneuron.eval.store.store import Store

    keep_tracebacks_beside(store)
    rows = StoredNeurons(studied(Store(store), model)).listed(of_set, top)
    put_out(duckdb.from_arrow(rows), form, output, whole=True)


class PageFormat(StrEnum):
    """How the page of a neuron is written."""

    terminal = "terminal"
    md = "md"
    json = "json"


@spread
def neuron(
    name: Annotated[str, typer.Argument(help="Its layer, group and index, as in L11.ffn.1229.")],
    *,
    stored: StudyInStore,
    top: Annotated[int, typer.Option(min=1, help="At most so many tokens of each list.")] = 10,
    form: Annotated[
        PageFormat, typer.Option("--format", help="json has all numbers and texts whole.")
    ] = PageFormat.terminal,
) -> None:
    """Show one neuron: impacts, sets, activations, tokens in context, and the tokens that it promotes and suppresses."""
    from polyneuron.eval.neurons.page import grids_of, page_json, page_markdown, sentences_of
    from polyneuron.pipelines.run.chatter import quietly
    from polyneuron.pipelines.run.outcome import print_page

    with quietly():
        facts = stored.opened().neuron(name, top).facts
    if form is not PageFormat.terminal:
        write = page_json if form is PageFormat.json else page_markdown
        return print(write(facts), end="")
    print_page(f"{facts.neuron} of {facts.model}", sentences_of(facts), grids_of(facts))
