"""The pages of the documentation that are made from the code. `python -m tests.reference` writes them anew."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import typer

import polyneuron as pn
from polyneuron.eval.store import schemas
from polyneuron.pipelines.cli import app
from polyneuron.pipelines.commands import options, say
from polyneuron.pipelines.config import reference

DOCS = Path(__file__).parents[1] / "docs"

_COMMANDS = """# Commands

Every command and option of `polyneuron`, made from the code; `polyneuron COMMAND --help` prints the same. What overrides such as
`seed=1` may set stands in [Configuration](configuration.md). Options that several commands take stand
[at the end](#shared-options). Errors and what to do: [questions and troubles](troubleshooting.md).

"""
_SHARED: dict[str, tuple[object, ...]] = {
    "What is run": (
        *(
            option.annotation
            for option in inspect.signature(options.StudyOptions, eval_str=True).parameters.values()
        ),
        options.Overrides,
        options.DryRun,
    ),
    "A stored study": (options.StoreOption, options.ModelInStore, options.Weights, options.Trusted),
    "Who answers": (say.Off, say.Scale, say.Hold, say.Others, say.Engine, say.Seed),
    "How much is told": (options.Quiet, options.Verbose),
}
"""What several commands take, under one heading each."""
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
    """The page of all commands. An option that several take in the same way stands once, in a section of such options."""
    group: Any = typer.main.get_command(app)
    context = typer.Context(group, info_name="polyneuron")
    lines = {name: _lines(command, context) for name, command in group.commands.items()}
    headings = {_help(option): heading for heading, shared in _SHARED.items() for option in shared}
    takers: dict[str, dict[tuple[str, str], list[str]]] = {heading: {} for heading in _SHARED}
    for name, of_command in lines.items():
        for line, text in of_command.items():
            if heading := headings.get(text.partition("  [")[0]):
                takers[heading].setdefault((line, text), []).append(name)
    page = (
        f"{_COMMANDS}{group.help}\n\n{_list(_lines(group, context))}\n\n{_ending(group.commands['study'])}\n"
    )
    for name, command in group.commands.items():
        shared = {
            heading: [line for (line, _), names in of_heading.items() if name in names and len(names) > 1]
            for heading, of_heading in takers.items()
        }
        elsewhere = {line for of_heading in shared.values() for line in of_heading}
        usage = " ".join(command.collect_usage_pieces(context))
        page += (
            f"\n## `polyneuron {name}`\n\n{command.help}\n\n```console\n$ polyneuron {name} {usage}\n```\n"
        )
        own = [_list({line: text}) for line, text in lines[name].items() if line not in elsewhere]
        for heading, of_heading in shared.items():
            if of_heading:
                named = ", ".join(f"`{line.partition(' <')[0].split(', ')[-1]}`" for line in of_heading)
                own.append(f"* [{heading}](#{heading.lower().replace(' ', '-')}): {named}")
        if own:
            page += "\n" + "".join(f"{line}\n" for line in own)
        if command.epilog != group.commands["study"].epilog:
            page += f"\n{_ending(command)}\n"
    page += "\n## Shared options\n"
    for heading, of_heading in takers.items():
        together = {line: text for (line, text), names in of_heading.items() if len(names) > 1}
        page += f"\n### {heading}\n\n{_list(together)}\n"
    return page


def _lines(command: Any, context: Any) -> dict[str, str]:
    """How each argument and option of a command is written, and what its help says."""
    return dict(param.get_help_record(context) for param in command.params)


def _list(lines: Mapping[str, str]) -> str:
    return "\n".join(f"* `{line}`: {' '.join(text.split())}" for line, text in lines.items())


def _help(option: Any) -> str:
    return option.__metadata__[0].help


def _ending(command: Any) -> str:
    return f"**{command.epilog.partition(':')[0]}**:{command.epilog.partition(':')[2]}"


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
