"""How tests are shared out where pytest runs in several processes (`pytest -n 2`)."""

from typing import Any

from xdist.scheduler import LoadScopeScheduling

TOGETHER = "tests/ray/"
"""The tests of this folder share one Ray session."""
LONGEST = (TOGETHER, "tests/pipelines/", "tests/parity/")
"""Where to begin, so that no process is left alone with them at the end."""


class FilesTogether(LoadScopeScheduling):
    """The tests of a file run in one process, since what a module builds is for all of them, and so do those of `TOGETHER`."""

    def __init__(self, config: Any, log: Any) -> None:
        config.option.loadscopereorder = False  # the order is `place_in_line`'s
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER if nodeid.startswith(TOGETHER) else nodeid.partition("::")[0]


def place_in_line(nodeid: str) -> int:
    """When a test's turn is: 0 for those of the first of `LONGEST`."""
    return next((i for i, folder in enumerate(LONGEST) if nodeid.startswith(folder)), len(LONGEST))
