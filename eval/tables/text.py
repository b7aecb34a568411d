"""A table as Markdown, for files and comments, and as a table of rich, for a terminal."""

import re

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


def terminal(grid: Grid) -> Table:
    """The table for a terminal, with its title and its caption below; no text is read as markup."""
    table = Table(
        title=Text(visible(grid.title)) if grid.title else None,
        caption=Text(visible(grid.caption)) if grid.caption else None,
        title_justify="left",
        caption_justify="left",
    )
    for column in grid.columns:
        table.add_column(Text(visible(_head(column))), justify=column.align)
    for line in grid.rows:
        table.add_row(*(_in_lines(cell, line) for cell in line.cells))
    return table


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
