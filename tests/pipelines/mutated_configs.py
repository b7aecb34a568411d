"""Configurations as a hasty, unlucky or hostile hand leaves them: mutations of a good file, from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import yaml

ODD_SCALARS = (
    "true", "no", "null", "~", "''", "' '", "0", "-1", "-5.5", "1e400", ".inf", "-.inf", ".nan", "99999999999999999999",
    "9" * 5000, "1e18", "0x1F", "010", "1:30", "2026-11-27", "2026-99-99", "'\\0'", '"a\\0b"', '"\\ud800"', '"\\x1b[31m"',
    "text", "ünïcödé", "'😀'", "'[/bold]'", "'*'", "'../../..'", "'{language}'", "/dev/null", "/proc/self/mem", "'~noone/x'",
    "x" * 3000, "[]", "{}", "[[]]", "[1, a, null]", "{a: 1}", "{1: 2}", "{null: x}", "!!python/object/apply:os.getcwd []",
    "!!set {en, sw}", "!!binary aGk=", "!!int abc", "!!timestamp x", "!!float ''", "!own 3", "&a [*a]", "*unknown", "&b x",
    "[" * 60 + "]" * 60, "{? [1, 2] : 3}", "nosuch://place/x", "s3://bucket", "http://127.0.0.1:9/x", "'embedded '", "@x", "`x",
    "%TAG", "|", "> ", "- ", "? ", "a: b: c", "\t", "{a: 1, a: 2}", "<<: 1", "'a\nb'",
)  # fmt: skip
"""YAML texts of values that hardly any setting takes."""


def _multiplied(first: str, again: Callable[[str], str]) -> str:
    """A few lines whose aliases stand for 9 to the 7th values."""
    lines = [f"{new}: &{new} {again(', '.join([f'*{old}'] * 9))}" for old, new in pairwise("abcdefgh")]
    return "\n".join([f"a: &a {first}", *lines, ""])


WHOLE_FILES = (
    "", "\n\n", "---\n---\n", "a\0b", "\ufeff", "- 1\n- 2\n", "just text", "models: [", "{", "]", "a: &a [*a]\n", "? x\n",
    "models: 1\nmodels: 2\n", "1: 2\n", "null: 3\n", "? [a, b]\n: c\n", "[" * 9999,
    "".join(" " * n + "a:\n" for n in range(99)),
    _multiplied("[x]", lambda all_: f"[{all_}]"), _multiplied("{k: v}", lambda all_: f"{{<<: [{all_}]}}"),
    "!!python/name:os.system x\n", "%YAML 3.0\n---\na: b\n", "\x1b[2J: 3\n", "store: " + "/x" * 5000 + "\n", "<<: {models: 3}\n",
)  # fmt: skip
"""Texts that are no configuration at all."""

_HOLE = "A-HOLE-FOR-YAML"


def mutated(good: dict[str, Any], seed: int, kept: tuple[str, ...] = ()) -> Iterator[str]:
    """Texts without end, each with one to three mutations of `good`, whose keys `kept` stay as they are."""
    chance = random.Random(seed)
    while True:
        yield _text_of_one(good, chance, kept)


def _text_of_one(good: dict[str, Any], chance: random.Random, kept: tuple[str, ...]) -> str:
    if chance.random() < 0.08:
        return chance.choice(WHOLE_FILES)
    data: dict[str, Any] = yaml.safe_load(yaml.safe_dump(good))
    scalars: list[str] = []
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places = [place for place in _places(data) if place[1] not in kept or place[0] is not data]
        container, key = chance.choice(places)
        chance.choice(_MUTATIONS)(container, key, chance, scalars)
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000)
    for scalar in scalars:
        text = text.replace(_HOLE, scalar, 1)
    if chance.random() < 0.1:
        lines = text.splitlines()
        lines.insert(chance.randrange(len(lines)), chance.choice(lines))  # a key twice, or broken indentation
        text = "\n".join(lines)
    if chance.random() < 0.03:
        text = text[: chance.randrange(len(text))]
    return text


def _places(node: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything below `node`."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    return [(node, key) for key in keys] + [place for key in keys for place in _places(node[key])]


def _replace(container: Any, key: Any, chance: random.Random, scalars: list[str]) -> None:
    container[key] = _HOLE
    scalars.append(chance.choice(ODD_SCALARS))


def _remove(container: Any, key: Any, chance: random.Random, scalars: list[str]) -> None:
    del container[key]


def _rename(container: Any, key: Any, chance: random.Random, scalars: list[str]) -> None:
    if isinstance(container, dict) and isinstance(key, str):
        container[
            chance.choice((key + "s", key[:-1], key.upper(), "", " ", "x" * 2000, key.replace("_", "-")))
        ] = container.pop(key)


def _repeat(container: Any, key: Any, chance: random.Random, scalars: list[str]) -> None:
    if isinstance(container, list):
        container.append(container[key])
    else:
        container[key] = [container[key], container[key]]


def _scale(container: Any, key: Any, chance: random.Random, scalars: list[str]) -> None:
    if isinstance(container[key], int | float):
        container[key] = container[key] * chance.choice((-1, 0, 10**6, 10**12, 10**30, 0.5, 1e-300))


def _wrap(container: Any, key: Any, chance: random.Random, scalars: list[str]) -> None:
    container[key] = chance.choice(([container[key]], {"value": container[key]}, str(container[key])))


def _add(container: Any, key: Any, chance: random.Random, scalars: list[str]) -> None:
    if isinstance(container, dict):
        container[chance.choice(("seed", "path", "name", "x y", "😀", "languages", 7, None, True, 2.5))] = (
            _HOLE
        )
        scalars.append(chance.choice(ODD_SCALARS))


_MUTATIONS: tuple[Callable[[Any, Any, random.Random, list[str]], None], ...] = (
    _replace, _replace, _replace, _remove, _rename, _repeat, _scale, _wrap, _add,
)  # fmt: skip
