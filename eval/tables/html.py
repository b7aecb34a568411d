"""A table as HTML, escaped, with the classes of the report's style sheet."""

from __future__ import annotations

from itertools import groupby

from markupsafe import Markup

from polyneuron.eval.tables.grid import Cell, Column, Grid, Line


def html(grid: Grid) -> Markup:
    """The table in a frame that scrolls when the screen is too narrow; its caption stands above."""
    caption = Markup('<p class="caption">{}</p>\n').format(grid.caption) if grid.caption else Markup()
    head = _joined(Markup("<tr>{}</tr>").format(_joined(row)) for row in _heads(grid.columns))
    body = Markup("\n").join(_row(line, grid.columns) for line in grid.rows)
    return caption + Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{}"><table{}>\n<thead>{}</thead>\n'
        "<tbody>{}</tbody>\n</table></div>"
    ).format(grid.title, _attributes(id=grid.id, css=grid.tone), head, body)


def _heads(columns: tuple[Column, ...]) -> list[list[Markup]]:
    """One row of heads, or two where some columns have a head over them; those without one reach over both rows."""
    if not any(column.over for column in columns):
        return [[_head(column) for column in columns]]
    upper, lower = [], []
    for (over, detail), group in groupby(columns, lambda column: (column.over, column.detail)):
        below = list(group)
        if not over:
            upper += [_head(column, rowspan="2") for column in below]
            continue
        span = {"scope": "colgroup", "colspan": str(len(below))} if len(below) > 1 else {"scope": "col"}
        shared = _attributes(**span, css="variant")
        upper.append(Markup("<th{}>{}{}</th>").format(shared, over, _small(detail)))
        lower += [_head(column) for column in below]
    return [upper, lower]


def _head(column: Column, rowspan: str = "") -> Markup:
    css = "words" if column.align == "left" else ""
    return Markup("<th{}>{}</th>").format(_attributes(scope="col", rowspan=rowspan, css=css), column.text)


def _row(line: Line, columns: tuple[Column, ...]) -> Markup:
    cells = _joined(_cell(cell, column) for cell, column in zip(line.cells, columns, strict=True))
    return Markup("<tr{}>{}</tr>").format(_attributes(css=line.tone), cells)


def _cell(cell: Cell, column: Column) -> Markup:
    classes = [
        "" if cell.shade is None else f"h{cell.shade}",
        cell.tone,
        "own-cell" if cell.framed else "",
        "words" if column.align == "left" and not cell.header else "",
        "code" if column.code else "",
    ]
    named = {"scope": "row" if cell.header else "", "title": cell.title, "data-cell": cell.key}
    under = [Markup(" <sup>{}</sup>").format(cell.raised)] if cell.raised else []
    under += [Markup(" <span>{}</span>").format(mark) for mark in cell.marks]
    under += [_small(detail) for detail in cell.details]
    tag, attributes = "th" if cell.header else "td", _attributes(**named, css=" ".join(filter(None, classes)))
    return Markup("<{0}{1}>{2}{3}</{0}>").format(tag, attributes, cell.text, _joined(under))


def _small(words: str) -> Markup:
    return Markup("<small>{}</small>").format(words) if words else Markup()


def _attributes(css: str = "", **named: str) -> Markup:
    """Those that have a value, each with a space before it."""
    given = {**named, "class": css}
    return _joined(Markup(' {}="{}"').format(name, value) for name, value in given.items() if value)


_joined = Markup().join
