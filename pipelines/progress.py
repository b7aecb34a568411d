"""Progress for people: one bar with rate and time left per long pass on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_LINE_EVERY_S = 20.0
console = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One line to the user."""
    console.print(text, markup=False)


@contextmanager
def bar(title: str) -> Iterator[Callable[[float, float], None]]:
    """Yields report(done, total). A bar on a terminal; elsewhere a line every 20 seconds with the time left."""
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(title, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
        return
    began = last = time.monotonic()

    def report(done: float, total: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _LINE_EVERY_S and 0 < done < total:
            last = now
            left_s = (now - began) * (total - done) / done
            say(f"  {title}: {done:.0f} of {total:.0f}, about {left_s:.0f} s left")

    yield report
