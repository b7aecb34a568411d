"""How much memory this process has used at most."""

from __future__ import annotations

import resource


def peak_resident_bytes() -> int:
    """The largest resident set since the process began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
