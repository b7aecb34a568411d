"""The pages of the documentation that are made from the code. `python -m tests.reference` writes them anew."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import typer
from typer.cli import get_docs_for_click

import polyneuron as pn
from polyneuron.eval.store import schemas
from polyneuron.pipelines.cli import app
from polyneuron.pipelines.config import reference

DOCS = Path(__file__).parents[1] / "docs"

_COMMANDS = """# Commands

Every command and option of `polyneuron`, made from the code; `polyneuron COMMAND --help` prints the same. What overrides such as
`seed=1` may set stands in [Configuration](configuration.md). Exit codes: **0**; **1** where one of several models failed, or
a night is worse; **2** for errors, in one message ([what to do](troubleshooting.md)); **130** after Ctrl-C, and 128 and the
number of another signal.

"""
_TABLES = """# Tables of the store

Every table and column, made from the code. Beside its own columns a table has `run_id` (the run that wrote the row) and `unit`
(the unit of work that it belongs to). The key names a row within one unit. Null means not measured, never 0. How to ask the
store: [The store](store.md).
"""
_PYTHON = """# Python

Every name of `import polyneuron as pn`, made from the code when the site is built; in Python, `help(pn.select)` says the same.
In use: [step by step](notebook.md).
"""


def commands() -> str:
    """The page of all commands, as Typer describes them."""
    group = typer.main.get_command(app)
    text = get_docs_for_click(obj=group, ctx=typer.Context(group), name="polyneuron")
    return _COMMANDS + text.partition("\n\n")[2].rstrip() + "\n"


def tables() -> str:
    """The page of all tables of the store, as `eval/store/schemas.py` declares them."""
    page = _TABLES
    for spec in schemas.TABLES.values():
        key, said = ", ".join(f"`{name}`" for name in spec.key), spec.descriptions()
        page += f"\n## {spec.name}\n\n{spec.says}\n\nKey: {key}.\n\n"
        page += "| column | type | may be null | what it says |\n|---|---|---|---|\n"
        for field in spec.schema:
            if field.name not in ("run_id", "unit") or spec.about_runs:
                null = "yes" if field.name in spec.optional else ""
                words = said[field.name].replace("|", "\\|")
                page += f"| `{field.name}` | {_type(field.type)} | {null} | {words} |\n"
    return page


def _type(kind: pa.DataType) -> str:
    return f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)


def python() -> str:
    """The page of the public names, which mkdocstrings fills from their docstrings."""
    public = {name: getattr(pn, name) for name in pn.__all__ if name != "__version__"}
    return _PYTHON + "".join(
        f"\n::: {made.__module__}.{made.__qualname__}\n    options:\n      heading: pn.{name}\n"
        for name, made in public.items()
    )


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands,
    "configuration.md": reference.page,
    "python.md": python,
    "tables.md": tables,
}
"""What makes each page."""

if __name__ == "__main__":
    for name, made in PAGES.items():
        (DOCS / name).write_text(made(), encoding="utf-8")
