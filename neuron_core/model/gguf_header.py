"""The header of a GGUF file, walked through before a library reads it: one that is cut short or damaged may say that an
array has 2^60 elements, and gguf's own reader would set out to read them all."""

from __future__ import annotations

import math
import mmap
import re
import struct
from pathlib import Path

_STRING, _ARRAY = 8, 9
_BYTES_OF = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Of GGUF's types of numbers."""
_UINT32, _ALIGNMENT = 4, 32
_DEEPEST = 4
_LAYER = re.compile(r"blk\.(\d+)\.")


def require_whole_gguf(path: Path) -> None:
    """Raises ValueError, which says why, unless the file holds all that its header names, and as many layers as it says."""
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError("it is no GGUF file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _Walk(data).whole()


class _Walk:
    """A position in the file that only moves forward, and never past the end."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at, self._size = data, 4, len(data)

    def _skip(self, n: int) -> int:
        """Moves on by `n` bytes; returns where it was."""
        before = self._at
        if n > self._size - before:
            raise ValueError("the file ends inside its header: it is cut short or damaged")
        self._at += n
        return before

    def _number(self, kind: str) -> int:
        found: int = struct.unpack_from(f"<{kind}", self._data, self._skip(struct.calcsize(kind)))[0]
        return found

    def _text(self) -> str:
        n = self._number("Q")
        start = self._skip(n)
        return self._data[start : start + n].decode("utf-8")

    def _value(self, kind: int, depth: int = 0) -> None:
        if kind in _BYTES_OF:
            self._skip(_BYTES_OF[kind])
        elif kind == _STRING:
            self._skip(self._number("Q"))
        elif kind == _ARRAY and depth < _DEEPEST:
            inner, n = self._number("I"), self._number("Q")
            if inner in _BYTES_OF:
                self._skip(n * _BYTES_OF[inner])
            else:
                for _ in range(
                    min(n, self._size)
                ):  # each takes some bytes, so that the end comes before long
                    self._value(inner, depth + 1)
        else:
            raise ValueError(f"its header holds a value of the unknown kind {kind}")

    def whole(self) -> None:
        """As `require_whole_gguf`."""
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        if (version := self._number("I")) not in (2, 3):
            raise ValueError(f"it is of GGUF version {version}; 2 and 3 are read, in little-endian order")
        n_tensors, n_values = self._number("Q"), self._number("Q")
        numbers: dict[str, int] = {}
        for _ in range(min(n_values, self._size)):
            key, kind = self._text(), self._number("I")
            if kind == _UINT32:
                numbers[key] = struct.unpack_from("<I", self._data, self._skip(4))[0]
            else:
                self._value(kind)
        tensors: dict[str, tuple[int, int, int]] = {}
        for _ in range(min(n_tensors, self._size)):
            name, n_axes = self._text(), self._number("I")
            shape = struct.unpack_from(f"<{min(n_axes, self._size)}Q", self._data, self._skip(8 * n_axes))
            tensors[name] = math.prod(shape), self._number("I"), self._number("Q")
        alignment = numbers.get("general.alignment", _ALIGNMENT) or _ALIGNMENT
        start = -(-self._at // alignment) * alignment
        for name, (n, kind, offset) in tensors.items():
            n_block, n_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
            if start + offset + -(-n // n_block) * n_bytes > self._size:
                raise ValueError(f"the file ends before its tensor {name} does: it is cut short")
        layers = {int(found[1]) for name in tensors if (found := _LAYER.match(name))}
        for key, n in numbers.items():
            if key.endswith(".block_count") and layers != set(range(min(n, len(layers) + 1))):
                raise ValueError(f"its header says {n} layers, its tensors are of {len(layers)}")
