"""Resident memory of this process as Linux counts it, now and at most, in bytes; and when freed memory is given back."""

from __future__ import annotations

import ctypes
from pathlib import Path

MMAP_THRESHOLD = 4 << 20
"""Allocations of workers from this size on are given back when they are freed. Else glibc raises the bound by itself, and keeps
what is freed below it: hundreds of MiB."""
_M_MMAP_THRESHOLD = -3
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_bytes() -> int:
    """Now."""
    return _line("VmRSS")


def peak_resident_bytes() -> int:
    """The most since the process began, or since `reset_peak`. It is of this process alone: getrusage's peak is inherited from
    the parent."""
    return _line("VmHWM")


def reset_peak() -> None:
    """From here on, the peak is counted anew."""
    _CLEAR.write_text("5")


def give_back_freed() -> None:
    """What has been freed goes back to the system, and from here on as workers do it."""
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD)
    libc.malloc_trim(0)


def _line(name: str) -> int:
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))
