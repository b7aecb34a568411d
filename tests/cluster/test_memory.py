"""Resident memory of this process, and of no other."""

import subprocess
import sys

from polyneuron.cluster.memory import peak_resident_bytes, reset_peak, resident_bytes

MIB = 1 << 20
SLACK = 4 * MIB
"""Linux adds up the pages of threads now and then only."""


def test_the_peak_begins_anew() -> None:
    held = bytearray(64 * MIB)
    held[:] = b"x" * len(held)
    full = resident_bytes()
    assert peak_resident_bytes() >= full - SLACK
    del held
    reset_peak()
    assert resident_bytes() - SLACK <= peak_resident_bytes() < full - 32 * MIB


def test_a_childs_peak_is_its_own() -> None:
    held = bytearray(128 * MIB)
    held[:] = b"x" * len(held)
    code = "from polyneuron.cluster.memory import peak_resident_bytes as peak; print(peak())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(child.stdout) < len(held)
