"""Safetensors files as places to read from: any run of elements of any tensor, straight into memory that the caller owns.

Bytes are read with pread, not mapped: pages of a mapped file count as the process's resident memory until they are
unmapped, and a file that shrinks meanwhile ends the process instead of raising.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from polyneuron.neuron_core.common.boundary import errors_become
from polyneuron.neuron_core.common.errors import ModelError

_AGAIN = "Download or export the model again"
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_CHUNK_BYTES = 16 << 20
"""What is held besides the destination while values change their dtype or device."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTensor:
    """Where one tensor lies."""

    path: Path
    """Its file."""
    first_byte: int
    """Where in the file it begins."""
    dtype: torch.dtype
    """Of its elements there."""
    shape: torch.Size
    """Its shape."""
    stamp: tuple[int, int, int]
    """`file_stamp` of the file when its header was read."""


class WeightFiles:
    """The tensors of some safetensors files, by the names they have there. `bytes_read` counts what was read."""

    def __init__(self, paths: Sequence[str | Path]) -> None:
        """Reads the headers. Raises ModelError for a file that is missing, truncated or not safetensors, a tensor that is not
        floating point, or one that two files hold."""
        self.paths = [Path(path) for path in paths]
        self.tensors: dict[str, StoredTensor] = {}
        self.bytes_read = 0
        for path in self.paths:
            of_file = _header(path)
            if twice := sorted(of_file.keys() & self.tensors.keys()):
                there = self.tensors[twice[0]].path
                raise ModelError(f"The tensor {twice[0]} is in {there} and in {path}. {_AGAIN}")
            self.tensors |= of_file

    def read(self, name: str, into: Tensor, start: int = 0) -> None:
        """Fills `into` (contiguous, one dimension, any float dtype and device) with the elements from `start` on. Raises
        ModelError when the file ends early, cannot be read, was changed since its header was, or holds NaN or infinity there."""
        stored = self.tensors[name]
        item = stored.dtype.itemsize
        first = stored.first_byte + start * item
        try:
            with stored.path.open("rb", buffering=0) as file:
                if into.dtype == stored.dtype and into.device.type == "cpu":
                    _fill(file.fileno(), into, first)
                    _require_finite(into, name, stored.path)
                else:
                    step = _CHUNK_BYTES // item
                    for at in range(0, len(into), step):
                        part = into[at : at + step]
                        staged = torch.empty(len(part), dtype=stored.dtype)
                        _fill(file.fileno(), staged, first + at * item)
                        _require_finite(staged, name, stored.path)
                        part.copy_(staged)
                if file_stamp(os.fstat(file.fileno())) != stored.stamp:
                    raise ModelError(
                        f"{stored.path} was changed while the model was in use. Let nothing write to it, and start again"
                    )
        except OSError as error:
            raise ModelError(
                f"The tensor {name} cannot be read from {stored.path}: {error.strerror}. Look whether the file is still "
                "there and whole, or download the model again"
            ) from error
        self.bytes_read += len(into) * item


def file_stamp(stat: os.stat_result) -> tuple[int, int, int]:
    """What changes when a file's contents do: size, time of change and inode."""
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def all_finite(values: Tensor) -> bool:
    """Whether a tensor of floats holds neither NaN nor infinity. One pass, without a copy: the least and the greatest of
    values with a NaN among them are NaN."""
    return not values.numel() or all(torch.isfinite(end) for end in torch.aminmax(values))


def _require_finite(values: Tensor, name: str, path: Path) -> None:
    if not all_finite(values):
        raise ModelError(f"{name} in {path} holds NaN or infinity. {_AGAIN}")


def _fill(descriptor: int, into: Tensor, first_byte: int) -> None:
    view = into.view(torch.uint8).numpy().data
    while view:
        n = os.preadv(descriptor, [view], first_byte)
        if n == 0:
            raise OSError(0, "the file ends before the tensor does")
        view, first_byte = view[n:], first_byte + n


def _header(path: Path) -> dict[str, StoredTensor]:
    from safetensors import safe_open

    with errors_become(
        ModelError, f"The weights in {path} cannot be read", f"{_AGAIN}; only safetensors files are read"
    ):
        with safe_open(path, framework="pt"):  # checks that header and size agree
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            entries = json.loads(file.read(length))
            stamp = file_stamp(os.fstat(file.fileno()))
    entries.pop("__metadata__", None)
    if other := sorted({entry["dtype"] for entry in entries.values()} - _DTYPES.keys()):
        raise ModelError(
            f"{path} holds tensors of dtype {', '.join(other)}; only {', '.join(_DTYPES)} are read. Give the "
            "unquantised model, or dequantise this one and save it in bfloat16"
        )
    return {
        name: StoredTensor(
            path=path,
            first_byte=8 + length + entry["data_offsets"][0],
            dtype=_DTYPES[entry["dtype"]],
            shape=torch.Size(entry["shape"]),
            stamp=stamp,
        )
        for name, entry in entries.items()
    }
