"""What stands in the cells of a table."""

from __future__ import annotations

from polyneuron.eval.tables.grid import Cell, Grid


def said(cell: Cell) -> str:
    """All that a cell says, from top to bottom."""
    return " ".join(filter(None, (cell.text, cell.raised, *cell.marks, *cell.details)))


def rows_of(grid: Grid) -> dict[str, list[str]]:
    """By what the row's header says, what the other cells say."""
    return {said(row.cells[0]): [said(cell) for cell in row.cells[1:]] for row in grid.rows}


def cell_of(grid: Grid, row: str, column: int = 0) -> Cell:
    """A cell of the row whose header begins so; columns are counted without the header."""
    (found,) = (line for line in grid.rows if said(line.cells[0]).startswith(row))
    return found.cells[1 + column]
