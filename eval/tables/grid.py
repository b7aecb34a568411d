"""A table for people: what stands in its cells, whatever writes it (`html`, `markdown`, `terminal`)."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

SHADES = 6
"""The darkest shade; 0 is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """What one cell says: a text, verdicts and small print under it, and how it stands out."""

    text: str = ""
    """The number or words themselves; empty where there are none, and then a detail says why."""
    raised: str = ""
    """A second number raised beside the text, such as a change."""
    marks: tuple[str, ...] = ()
    """Verdicts in words, each on a line of its own."""
    details: tuple[str, ...] = ()
    """Small print under all else, such as an interval or the reason of a null, each on a line of its own."""
    shade: int | None = None
    """How dark the ground is, 0 to `SHADES`; None: the cell takes no part in a scale."""
    tone: str = ""
    """A class of the style sheet: firm, better, worse, above and below are bold, quiet, blank, within and empty are soft."""
    framed: bool = False
    """Whether a frame sets the cell apart from its row."""
    header: bool = False
    """Whether the cell names its row."""
    title: str = ""
    """What a pointer that rests on the cell is told, in HTML alone."""
    key: str = ""
    """The name by which a script finds the cell, in HTML alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """The head of one column, and how its cells are set."""

    text: str
    """What stands in the head."""
    align: Literal["left", "right"] = "right"
    """Numbers stand right; words stand left and may wrap."""
    code: bool = False
    """Whether its cells are set as code."""
    over: str = ""
    """A head over this and the neighbouring columns with the same one."""
    detail: str = ""
    """Small print under `over`."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row. ``tone``: a class of the style sheet, such as draws for random draws under their set."""

    cells: tuple[Cell, ...]
    tone: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """One table. Make it with `grid`."""

    title: str
    """What the table is about, for those who do not see what stands around it."""
    columns: tuple[Column, ...]
    """One for each cell of a row."""
    rows: tuple[Line, ...]
    """From top to bottom."""
    caption: str = ""
    """What a reader must know, in a sentence or two above the table."""
    tone: str = ""
    """Classes of the style sheet, such as heat or scores."""
    id: str = ""
    """The name by which links and scripts find the table, in HTML alone."""


def grid(
    title: str,
    columns: Sequence[Column | str],
    rows: Iterable[Line | Sequence[Cell | str]],
    *,
    tone: str = "",
    caption: str = "",
    id: str = "",
) -> Grid:
    """A table whose first column names the rows; a text stands for a cell, or a column, of that text alone. Raises ValueError
    when a row has not as many cells as there are columns."""
    heads = tuple(Column(text=head) if isinstance(head, str) else head for head in columns)
    heads = tuple(dataclasses.replace(head, align="left") if i == 0 else head for i, head in enumerate(heads))
    lines = tuple(row if isinstance(row, Line) else line(*row) for row in rows)
    if uneven := [line for line in lines if len(line.cells) != len(heads)]:
        raise ValueError(
            f"A row of {len(uneven[0].cells)} cells in a table of {len(heads)} columns: {title}."
        )
    return Grid(title=title, columns=heads, rows=lines, caption=caption, tone=tone, id=id)


def line(*cells: Cell | str, tone: str = "") -> Line:
    """A row whose first cell is its header; a text stands for a cell of that text alone."""
    made = [Cell(text=cell) if isinstance(cell, str) else cell for cell in cells]
    return Line((*(dataclasses.replace(cell, header=True) for cell in made[:1]), *made[1:]), tone)
