"""Where tensors wait between layers: in host memory up to a budget, the rest in a temporary file.

Every pass reads and replaces all micro-batches in turn, layer after layer. Under such a cycle any cache that evicts what was
used least recently always evicts what is needed next; so a tensor is given its place once, memory while there is room,
and keeps it. The file is created without a name where the system allows it, else unlinked at once: nothing is left of it,
however the process ends.
"""

import errno
import os
import tempfile
import weakref
from typing import IO

import torch
from torch import Tensor

from polyneuron.neuron_core.common.errors import StoreError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class HiddenStore:
    """Keeps tensors within `budget_bytes` of host memory (None: no bound); what exceeds it lies in a file in $TMPDIR."""

    def __init__(self, budget_bytes: int | None = None) -> None:
        self.budget_bytes = budget_bytes
        self.memory_bytes = 0
        self.spilled_bytes = 0
        self._file: IO[bytes] | None = None
        self._end = 0
        self._free: dict[int, list[int]] = {}

    def _place(self, n_bytes: int) -> int | None:
        """None: memory. Else the first byte of a place in the file."""
        if self.budget_bytes is None or self.memory_bytes + n_bytes <= self.budget_bytes:
            self.memory_bytes += n_bytes
            return None
        self.spilled_bytes += n_bytes
        if free := self._free.get(n_bytes):
            return free.pop()
        self._end += n_bytes
        return self._end - n_bytes

    def _release(self, place: int | None, n_bytes: int) -> None:
        if place is None:
            self.memory_bytes -= n_bytes
            return
        self.spilled_bytes -= n_bytes
        self._free.setdefault(n_bytes, []).append(place)
        if self.spilled_bytes == 0 and self._file is not None:
            self._file.truncate(0)
            self._free, self._end = {}, 0

    def _write(self, place: int, tensor: Tensor) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="polyneuron-hidden-", buffering=0)  # noqa: SIM115
        view, at = _bytes_of(tensor.cpu().contiguous()), place
        try:
            while view:
                n = os.pwrite(self._file.fileno(), view, at)
                view, at = view[n:], at + n
        except OSError as error:
            if error.errno not in _FULL:
                raise
            budget = (self.budget_bytes or 0) / 2**30
            raise StoreError(
                f"{tempfile.gettempdir()} is full: {self.spilled_bytes / 2**30:.2f} GiB of hidden states do not fit beside the "
                f"{budget:.2f} GiB that may stay in memory. Set TMPDIR to a folder with room, raise "
                "cluster.hidden_states_gib, or lower ablation.variants_per_pass"
            ) from error

    def _read(self, place: int, into: Tensor) -> None:
        assert self._file is not None
        view, at = _bytes_of(into), place
        while view:
            n = os.preadv(self._file.fileno(), [view], at)
            if n == 0:
                raise StoreError("The temporary file of hidden states was cut short by something else")
            view, at = view[n:], at + n


class KeptTensor:
    """A tensor in a `HiddenStore`, whose place is free again when this is garbage. `n_users` counts those who would see it
    replaced."""

    def __init__(self, store: HiddenStore, tensor: Tensor) -> None:
        """Raises StoreError when the disk is full."""
        self.store, self.n_users = store, 1
        self._dtype, self._shape = tensor.dtype, tensor.shape
        n_bytes = tensor.numel() * tensor.element_size()
        self._place = store._place(n_bytes)
        weakref.finalize(self, store._release, self._place, n_bytes).atexit = False
        self._memory: Tensor | None = None
        self.replace(tensor)

    def get(self, device: torch.device) -> Tensor:
        """The tensor, bit for bit. On a CPU a tensor in memory is handed out itself: do not write into it."""
        if self._place is None:
            assert self._memory is not None
            return self._memory.to(device)
        tensor = torch.empty(self._shape, dtype=self._dtype)
        self.store._read(self._place, tensor)
        return tensor.to(device)

    def replace(self, tensor: Tensor) -> None:
        """Puts a tensor of the same shape and dtype in its place. Raises StoreError when the disk is full."""
        assert (tensor.shape, tensor.dtype) == (self._shape, self._dtype)
        if self._place is None:
            self._memory = tensor.cpu()
        else:
            self.store._write(self._place, tensor)


def _bytes_of(tensor: Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data
