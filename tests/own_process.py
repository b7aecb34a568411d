"""Checks that need a process of their own: a module prints what it found as one line of JSON, and a test reads it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_MARK = "RESULT "


def print_found(found: dict[str, Any]) -> None:
    """For the module: hands `found` to the test."""
    print(_MARK + json.dumps(found))


def found_by(module: str, *arguments: object, threads: int, timeout_s: float) -> dict[str, Any]:
    """For the test: runs `python -m module arguments` and gives what it found; fails with its last words if nothing."""
    ran = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        cwd=Path(__file__).parents[1],
    )
    lines = [line for line in ran.stdout.splitlines() if line.startswith(_MARK)]
    assert lines, ran.stderr[-3000:]
    found: dict[str, Any] = json.loads(lines[0].removeprefix(_MARK))
    return found
