"""Commands started as a user would, and SIGKILL for them or their actors once some results are there."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


def started_until(arguments: list[str], store: Path, pattern: str, n_files: int) -> "subprocess.Popen[bytes]":
    """Starts a command; returns once `n_files` files of the store match `pattern`, or it has ended, or in 200 s."""
    process = subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        if len(list(store.glob(pattern))) >= n_files:
            break
        time.sleep(0.005)
    return process


def kill_driver(process: "subprocess.Popen[bytes]") -> None:
    """Ends the command itself."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=30)


def kill_actor(process: "subprocess.Popen[bytes]", title: str) -> None:
    """Ends one Ray actor of the command whose process title holds `title`; the command must replace it and end well."""
    children = psutil.Process(process.pid).children(recursive=True)
    actors = [child for child in children if title in _title(child)]
    assert actors, f"no {title} to kill: the command ended too soon for this test to mean anything"
    actors[0].kill()
    assert process.wait(timeout=250) == 0, "a killed actor is replaced by the command itself"


def _title(process: psutil.Process) -> str:
    try:
        return process.name() + " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # it has just ended
        return ""
