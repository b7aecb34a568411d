"""Resident memory of this process, as Linux counts it, and its peak since a moment of one's choice."""

from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_bytes() -> int:
    """Now."""
    return _line("VmRSS")


def resident_peak() -> int:
    """The most since the process began, or since `reset_peak`."""
    return _line("VmHWM")


def reset_peak() -> None:
    """From here on, the peak is counted anew."""
    _CLEAR.write_text("5")


def _line(name: str) -> int:
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))
