"""Resident memory of this process as Linux counts it, now and at most, in bytes; and giving back what has been freed."""

import ctypes
from pathlib import Path

GIB, MIB = 1 << 30, 1 << 20
_M_MMAP_THRESHOLD = -3  # of malloc.h
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_bytes() -> int:
    """Returns what is resident now."""
    return _line("VmRSS")


def peak_resident_bytes() -> int:
    """Returns the most since the process began, or since `reset_peak`. It is of this process alone: getrusage's peak is inherited
    from the parent."""
    return _line("VmHWM")


def reset_peak() -> None:
    """Makes the peak count anew from here on."""
    _CLEAR.write_text("5")


def give_back_freed() -> None:
    """Hands the system what has been freed: glibc keeps it, in pieces between what is still held, hundreds of MiB in all."""
    ctypes.CDLL(None).malloc_trim(0)


def map_above(n_bytes: int) -> None:
    """Makes glibc map what is larger than this from the system, and hand it back as soon as it is freed."""
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, n_bytes)


def _line(name: str) -> int:
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))
