"""What a study says at its end, on standard output: its result as tables, where its time went, and what to type next."""

import shlex
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.text import Text

from polyneuron.eval.report.numbers.study import Report
from polyneuron.eval.report.sections.summary import sample_benchmarks, summary
from polyneuron.eval.report.words.wording import listing, percent
from polyneuron.eval.tables.grid import Grid, grid
from polyneuron.eval.tables.text import terminal, visible
from polyneuron.neuron_core.common.durations import duration

_WIDTH_ELSEWHERE = 120
"""Columns of a table that does not go to a terminal."""


def print_summaries(report: Report) -> None:
    """The tables of every model's result."""
    console = _console()
    for study in report.studies:
        for table in summary(study):
            console.print(terminal(table))
        if samples := sample_benchmarks(study):
            console.print(
                f"Judged on samples, so their scores are not a result: {listing(samples)}; the report has them.",
                markup=False,
                soft_wrap=not console.is_terminal,
            )


def print_page(title: str, sentences: Iterable[str], tables: Iterable[Grid]) -> None:
    """A page about one thing: its title, a sentence a line, and tables."""
    console = _console()
    console.print(Text(visible(title), style="bold"))
    for sentence in sentences:
        console.print(Text(f"{visible(sentence)}."), soft_wrap=not console.is_terminal)
    for table in tables:
        console.print(terminal(table))


def print_outcome(report: Report, timings_s: Mapping[str, float], store: str) -> None:
    """The result, the time that each stage of this run took, and commands that go on from here."""
    print_summaries(report)
    console = _console()
    total = sum(timings_s.values())
    rows = [[stage, duration(s), percent(s / total if total else 0.0)] for stage, s in timings_s.items()]
    console.print(
        terminal(
            grid("Where the time went", ["stage", "time", "share"], [*rows, ["all", duration(total), ""]])
        )
    )
    store = shlex.quote(store)
    console.print(
        f"Next:  polyneuron table --store {store} --format md   (or latex, json)\n"
        f'       polyneuron query --store {store} "SELECT * FROM neuron_sets LIMIT 10"',
        markup=False,
        soft_wrap=True,
    )


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH_ELSEWHERE)
