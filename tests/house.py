"""The rules of the house that a program can check, read from the source. `python -m tests.house [FOLDER ...]` lists what
breaks them."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("neuron_core", "cluster", "eval", "pipelines")
PRODUCT = (*FLOORS, "bench", "polyneuron")
MOST_POSITIONAL, MOST_FIELDS, MOST_FILES, MOST_LINES = 5, 4, 14, 400


def sources(*folders: str) -> dict[Path, ast.Module]:
    """Syntax trees of all Python files below these folders of the repository, by path relative to it."""
    return {
        path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8"))
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def classes_defined_twice(trees: dict[Path, ast.Module]) -> Iterator[str]:
    """Names of classes that more than one place defines."""
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path}:{node.lineno}")
    for name, where in places.items():
        if len(where) > 1:
            yield f"class {name} is defined at {', '.join(where)}"


def long_calls(trees: dict[Path, ast.Module]) -> Iterator[str]:
    """Calls with more than five positional arguments; one that is unpacked counts as one."""
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and len(node.args) > MOST_POSITIONAL:
                yield f"{path}:{node.lineno}: a call with {len(node.args)} positional arguments"


def loose_records(trees: dict[Path, ast.Module]) -> Iterator[str]:
    """Dataclasses with more than four fields that are not frozen, keyword-only and slotted, or have a field without a
    string under it."""
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and (options := _dataclass_options(node)) is not None:
                yield from (f"{path}:{node.lineno}: {node.name}: {fault}" for fault in _faults(node, options))


def _dataclass_options(node: ast.ClassDef) -> set[str] | None:
    """The options that are True in a class's dataclass decorator; None where it has none."""
    for decorator in node.decorator_list:
        name = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(name, ast.Name) and name.id == "dataclass":
            given = decorator.keywords if isinstance(decorator, ast.Call) else []
            return {
                k.arg for k in given if k.arg and isinstance(k.value, ast.Constant) and k.value.value is True
            }
    return None


def _faults(node: ast.ClassDef, options: set[str]) -> Iterator[str]:
    fields = [
        i
        for i, item in enumerate(node.body)
        if isinstance(item, ast.AnnAssign) and "ClassVar" not in ast.dump(item)
    ]
    if len(fields) <= MOST_FIELDS:
        return
    if missing := {"frozen", "kw_only", "slots"} - options:
        yield f"{len(fields)} fields, but not {', '.join(sorted(missing))}"
    undescribed = [node.body[i].target.id for i in fields if not _is_text(node.body[i + 1 : i + 2])]  # type: ignore[attr-defined]
    if undescribed:
        yield f"no string under {', '.join(undescribed)}"


def _is_text(nodes: list[ast.stmt]) -> bool:
    return bool(nodes) and isinstance(nodes[0], ast.Expr) and isinstance(nodes[0].value, ast.Constant)


def undescribed(trees: dict[Path, ast.Module]) -> Iterator[str]:
    """Modules, public classes and public functions without a docstring, and docstrings that do not end as sentences do."""
    for path, tree in trees.items():
        if tree.body and not ast.get_docstring(tree):
            yield f"{path}: no docstring"
        for node in _public(tree):
            text = ast.get_docstring(node)
            if not text:
                yield f"{path}:{node.lineno}: {node.name}: no docstring"
            elif len(text.split()) < 4 or text.split("\n\n")[0].rstrip()[-1] not in ".:`)":
                yield f"{path}:{node.lineno}: {node.name}: not a sentence: {text.splitlines()[0]!r}"


def _public(tree: ast.Module) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (
                    item
                    for item in node.body
                    if isinstance(item, ast.FunctionDef) and not item.name.startswith("_")
                )


def full_folders(trees: dict[Path, ast.Module]) -> Iterator[str]:
    """Folders with more than fourteen Python files."""
    count: dict[Path, int] = defaultdict(int)
    for path in trees:
        count[path.parent] += 1
    yield from (f"{folder}: {n} files" for folder, n in count.items() if n > MOST_FILES)


def long_files(trees: dict[Path, ast.Module]) -> Iterator[str]:
    """Files of more than four hundred lines."""
    for path in trees:
        n = len((ROOT / path).read_text(encoding="utf-8").splitlines())
        if n > MOST_LINES:
            yield f"{path}: {n} lines"


CHECKS = (classes_defined_twice, long_calls, loose_records, undescribed, full_folders, long_files)

if __name__ == "__main__":
    folders = sys.argv[1:] or PRODUCT
    trees = sources(*folders)
    for check in CHECKS:
        faults = list(check(sources(*PRODUCT)) if check is classes_defined_twice else check(trees))
        print(f"{check.__name__}: {len(faults)}")
        print(*(f"  {fault}" for fault in faults), sep="\n")
