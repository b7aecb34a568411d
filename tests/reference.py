"""The pages of the documentation that are made from the code. `python -m tests.reference` writes them anew."""

import ast
import importlib
import inspect
from collections.abc import Callable
from itertools import pairwise
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
    """The page of all tables of the store, each with what is said under its declaration and where its columns are made."""
    tree = ast.parse(inspect.getsource(schemas))
    said, declared = _said(tree.body), {ast.unparse(node.targets[0]): node for node in _assigned(tree.body)}
    homes = {
        name.name: str(node.module)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    page = _TABLES
    for spec in schemas.TABLES.values():
        constant = spec.name.upper()
        parts = dict.fromkeys(node.id for node in ast.walk(declared[constant]) if isinstance(node, ast.Name))
        of_schemas = [
            _said(ast.parse(inspect.getsource(importlib.import_module(homes[part]))).body).get(part, "")
            for part in parts
            if part.endswith("_SCHEMA") and part in homes
        ]
        records = [getattr(schemas, part) for part in parts if isinstance(getattr(schemas, part, None), type)]
        fields: dict[str, str] = {}
        for record in records:
            fields |= _said(ast.parse(inspect.getsource(record)).body[0].body)  # type: ignore[attr-defined]
        key = ", ".join(f"`{name}`" for name in spec.key)
        page += "\n".join(
            ["", f"## {spec.name}", "", *(f"{text}\n" for text in [said[constant], *of_schemas] if text)]
        )
        last, rule = (" what it says |", "---|") if fields else ("", "")
        page += f"\nKey: {key}.\n\n| column | type | may be null |{last}\n|---|---|---|{rule}\n"
        for field in spec.schema:
            if field.name not in ("run_id", "unit") or spec.about_runs:
                words = f" {fields.get(field.name, '').replace('|', chr(92) + '|')} |" if fields else ""
                null = "yes" if field.name in spec.optional else ""
                page += f"| `{field.name}` | {_type(field.type)} | {null} |{words}\n"
    return page


def _assigned(body: list[ast.stmt]) -> list[ast.Assign]:
    return [node for node in body if isinstance(node, ast.Assign)]


def _said(body: list[ast.stmt]) -> dict[str, str]:
    """The strings under assignments and fields, each in one line, by the name that is assigned."""
    return {
        ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target): " ".join(
            str(under.value.value).split()
        )
        for node, under in pairwise(body)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(under, ast.Expr)
        and isinstance(under.value, ast.Constant)
    }


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
