"""What a case of `bench.load` is, and how one of its steps is measured."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Step = Callable[[Path, int], object]
"""Works on what lies in a folder; gets the size too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadCase:
    """One kind of large input."""

    unit: str
    """What its size counts."""
    full: int
    """Its size at share 1."""
    prepare: Step
    """Makes the input in an empty folder; not measured."""
    steps: Mapping[str, Step]
    """What is measured, each in a process of its own; later ones may use what earlier ones left in the folder."""
    smallest: int = 1
    """No size is below it."""


def measured(step: Step, folder: Path, size: int) -> tuple[float, float, float]:
    """Runs a step. Returns its seconds, and in MiB the largest resident memory of this process meanwhile, and how much of that
    came on top of what was resident before."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    began = time.perf_counter()
    step(folder, size)
    seconds, peak = time.perf_counter() - began, _resident("VmHWM")
    return seconds, peak, peak - before


def _resident(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024
