"""How the benches measure: seconds, memory of ranks, and rows from processes of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

_ROW = "ROW "


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """Returns what `run` does, and the seconds it took."""
    began = time.perf_counter()
    result = run()
    return result, time.perf_counter() - began


def peak_of_ranks(group: Any) -> int:
    """Resident bytes of a `ModelGroup`'s fullest rank since the counts were reset."""
    return max(int(rank["peak_resident_bytes"]) for rank in group.stats())


def print_row(row: dict[str, Any]) -> None:
    """Hands a row to the process that waits for it in `rows_of_process`."""
    print(_ROW + json.dumps(row), flush=True)


def rows_of_process(module: str, *arguments: str, **environment: str) -> Iterator[dict[str, Any]]:
    """The rows that `python -m module --run ARGUMENTS` prints, as they come; nothing is left of it afterwards. Raises SystemExit
    when it failed."""
    command = [sys.executable, "-m", module, "--run", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(_ROW):
                yield json.loads(line.removeprefix(_ROW))
    if process.returncode:
        raise SystemExit(f"Measuring {' '.join(arguments)} failed; what went wrong is above")
