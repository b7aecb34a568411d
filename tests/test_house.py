"""The rules of the house hold in the whole product (`python -m tests.house` lists what breaks them)."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import house

Check = Callable[[dict[Path, ast.Module]], Iterator[str]]

BROKEN = {
    "one.py": """'A module of one class and a call.'
class Twice:
    'A class that stands here.'
f(1, 2, 3, 4, 5, 6)
""",
    "two.py": """'A module of one class again.'
@dataclass(frozen=True)
class Twice:
    a: int
    b: int
    c: int
    d: int
    e: int
""",
}


@pytest.mark.parametrize("check", house.CHECKS, ids=lambda check: check.__name__)
def test_the_product_keeps_the_rules(check: Check) -> None:
    assert list(check(house.sources(*house.PRODUCT))) == []


def test_what_breaks_a_rule_is_found() -> None:
    trees = {Path(name): ast.parse(source) for name, source in BROKEN.items()}
    assert len(list(house.classes_defined_twice(trees))) == 1
    assert len(list(house.long_calls(trees))) == 1
    (options, strings) = house.loose_records(trees)
    assert "kw_only, slots" in options and "a, b, c, d, e" in strings
    assert len(list(house.undescribed(trees))) == 1
    assert list(house.full_folders({Path(f"room/{n}.py"): ast.Module([], []) for n in range(15)})) == [
        "room: 15 files"
    ]
