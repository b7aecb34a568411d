"""What an earlier run found out and a later one need not find out again: kept in the cache, under a hash of all that decides it.

Nothing is believed that was found by other code of ours, or that does not say what it was found of.
"""

from __future__ import annotations

import importlib.metadata
import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from xxhash import xxh3_128, xxh3_128_hexdigest

from polyneuron.neuron_core.common.cache import cache_folder
from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.neuron_core.common.files import remove, temporary_beside

_FOLDER = "found"
_FLOORS = ("neuron_core", "cluster", "eval", "pipelines")


def recall(kind: str, about: Any, **deciding: Any) -> Any:
    """The JSON-ready value that `remember` was last given of `about`, if everything `deciding` is as it was then; else None."""
    with suppress(OSError, ValueError, KeyError, TypeError, ConfigError):
        kept = json.loads(_place(kind, about).read_text(encoding="utf-8"))
        text = kept["value"]
        if kept["key"] == _key(deciding) and kept["hash"] == _hash(text):
            return json.loads(text)
    return None


def remember(kind: str, about: Any, value: Any, **deciding: Any) -> None:
    """Keeps `value` in place of what was kept of `about` before. A cache that cannot be written costs only time."""
    text = json.dumps(value)
    with suppress(OSError, ConfigError):
        place = _place(kind, about)
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_beside(place)
        try:
            kept = {"key": _key(deciding), "hash": _hash(text), "value": text}
            temporary.write_text(json.dumps(kept), encoding="utf-8")
            temporary.replace(place)
        finally:
            remove(temporary)


def versions_of(*distributions: str) -> dict[str, str | None]:
    """The versions of installed distributions; None of those that are not installed."""
    return {name: _version(name) for name in distributions}


@cache
def code_hash() -> str:
    """32 hex digits for every byte of our own code."""
    root, digest = Path(__file__).parents[2], xxh3_128()
    for path in sorted(path for floor in _FLOORS for path in (root / floor).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _place(kind: str, about: Any) -> Path:
    return cache_folder() / _FOLDER / kind / f"{_hash(_canonical(about))}.json"


def _key(deciding: Any) -> str:
    return _hash(_canonical([code_hash(), deciding]))


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _hash(text: str) -> str:
    return xxh3_128_hexdigest(text.encode())


@cache
def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
