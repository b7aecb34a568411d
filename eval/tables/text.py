"""A table as Markdown, for files and comments, and as a table of rich, for a terminal."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.box import HEAVY_HEAD, SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from polyneuron.eval.tables.grid import Cell, Column, Grid, Line

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
_STYLES = dict.fromkeys(("firm", "better", "worse", "above", "below"), "bold")
_STYLES |= dict.fromkeys(("quiet", "blank", "within", "empty"), "dim")


def visible(text: str) -> str:
    """The text without line breaks and control characters, which would end a row or turn its direction, and without halves of
    characters, which no file can hold."""
    return _UNSEEN.sub(" ", text)


def escape_markdown(text: str) -> str:
    """The text in one line, with backslashes that keep Markdown and HTML from reading anything into it."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&$:@])", r"\\\1", visible(text))


def markdown(grid: Grid) -> str:
    """The caption and the table in GitHub's Markdown; a heading is the caller's, who knows its level."""
    heads = [escape_markdown(_head(column)) for column in grid.columns]
    rules = ["---" if column.align == "left" else "---:" for column in grid.columns]
    rows = [[_in_a_line(cell) for cell in line.cells] for line in grid.rows]
    lines = ["| " + " | ".join(cells) + " |" for cells in (heads, rules, *rows)]
    return "\n".join([*([escape_markdown(grid.caption), ""] if grid.caption else []), *lines, ""])


@dataclass(frozen=True, slots=True)
class TerminalTable:
    """A table that rich prints with its title, and its caption below. Where it would be too wide it wraps between words, then
    goes without upright lines, and only then breaks words; nothing is cut off. No text is read as markup."""

    grid: Grid

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines that fit the terminal."""
        heads = [Text(visible(_head(column))) for column in self.grid.columns]
        rows = [[_in_lines(cell, line) for cell in line.cells] for line in self.grid.rows]
        columns = [[head, *cells] for head, *cells in zip(heads, *rows, strict=True)]
        fewest = [max(_longest(text.plain.split()) for text in column) for column in columns]
        most, most_with_heads = (
            [
                max((_longest(text.plain.split("\n")) for text in column[first:]), default=0)
                for column in columns
            ]
            for first in (1, 0)
        )
        room = options.max_width - len(columns) * 3 - 1
        has_frame = sum(fewest) <= room
        room = room if has_frame else options.max_width - len(columns) + 1
        fits = sum(fewest) <= room
        widths = _shared_out(room, fewest, most, most_with_heads) if fits else [None] * len(columns)
        table = Table(
            title=Text(visible(self.grid.title)) if self.grid.title else None,
            caption=Text(visible(self.grid.caption)) if self.grid.caption else None,
            title_justify="left",
            caption_justify="left",
            box=HEAVY_HEAD if has_frame else SIMPLE_HEAD,
            show_edge=has_frame,
            padding=(0, 1 if has_frame else 0),
        )
        for column, head, width in zip(self.grid.columns, heads, widths, strict=True):
            table.add_column(head, justify=column.align, width=width, overflow="fold")
        for row in rows:
            table.add_row(*row)
        yield table


def terminal(grid: Grid) -> TerminalTable:
    """The table for a terminal."""
    return TerminalTable(grid)


def _longest(words: Iterable[str]) -> int:
    """In columns of a terminal."""
    return max(map(cell_len, words), default=0)


def _shared_out(room: int, fewest: Sequence[int], *most: Sequence[int]) -> list[int]:
    """Widths of columns: their fewest, and what room is left to those that lack least of the first `most`, then of the next."""
    widths = list(fewest)
    for wanted in most:
        lack = [end - width for end, width in zip(wanted, widths, strict=True)]
        for i in sorted(range(len(widths)), key=lack.__getitem__):
            widths[i] += max(0, min(lack[i], room - sum(widths)))
    return widths


def _head(column: Column) -> str:
    return " ".join(filter(None, (column.over, column.text)))


def _in_a_line(cell: Cell) -> str:
    """The small print stands in brackets behind all else."""
    main = [escape_markdown(part) for part in (cell.text, cell.raised, *cell.marks) if part]
    details = ", ".join(map(escape_markdown, cell.details))
    return " ".join([*main, *([f"({details})" if main else details] if details else [])])


def _in_lines(cell: Cell, line: Line) -> Text:
    first = " ".join(filter(None, (cell.text, cell.raised)))
    style = "bold" if cell.header else _STYLES.get(cell.tone, "dim" if line.tone == "draws" else "")
    parts = [(first, style)] if first else []
    parts += [(mark, style) for mark in cell.marks] + [(detail, "dim") for detail in cell.details]
    return Text("\n").join(Text(visible(words), style=style) for words, style in parts)
