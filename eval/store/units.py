"""The key of a unit of work: a hash of everything that decides its result (DESIGN section 4)."""

import json
import math
from typing import Any

from xxhash import xxh3_128_hexdigest

from polyneuron.neuron_core.common.errors import StoreError


def unit_key(**parts: Any) -> str:
    """32 hex digits of the canonical JSON of `parts`: equal for equal parts in any order, on every machine and process.

    Parts are strings, numbers, booleans, None, and lists, tuples and string-keyed dicts of those. Raises StoreError naming the
    part for anything else (a set has no order, an object no stable text) and for NaN and infinities.
    """
    for name, value in parts.items():
        _require_plain(value, name)
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return xxh3_128_hexdigest(canonical.encode())


def _require_plain(value: Any, where: str) -> None:
    if value is None or type(value) in (str, bool, int) or (type(value) is float and math.isfinite(value)):
        return
    if isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _require_plain(item, f"{where}[{i}]")
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                raise StoreError(f"The part {where} of a unit key has the key {key!r}; use strings as keys.")
            _require_plain(item, f"{where}.{key}")
        return
    raise StoreError(
        f"The part {where} of a unit key is {value!r} ({type(value).__name__}), which has no stable text. "
        "Use finite numbers, strings, booleans, None, lists or dicts."
    )
