"""A table as HTML, escaped, with the classes of the report's style sheet."""

from itertools import groupby
from pathlib import Path

import jinja2
from markupsafe import Markup

from polyneuron.eval.tables.grid import Grid

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def html(grid: Grid) -> Markup:
    """The table in a frame that scrolls when the screen is too narrow; its caption stands above."""
    over = groupby(grid.columns, lambda column: (column.over, column.detail if column.over else ""))
    groups = [(head, list(columns)) for head, columns in over]
    return Markup(_TEMPLATES.get_template("table.html.j2").render(grid=grid, groups=groups))
