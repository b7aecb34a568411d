"""Progress for people: one bar with rate and time left per long pass on a terminal, plain lines elsewhere."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from datetime import datetime
from typing import IO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from polyneuron.neuron_core.common.durations import duration
from polyneuron.neuron_core.common.redact import redacted

_LINE_EVERY_S = 20.0
OWN = logging.getLogger("polyneuron.progress")
"""Takes what is said to the user as well; written where a log is (`chatter.libraries_quiet`)."""
OWN.setLevel(logging.INFO)


class _Console(Console):
    """A console that may go away while work goes on."""

    def on_broken_pipe(self) -> None:
        """Says nothing more, where rich would end the process."""
        self.quiet = True

    @contextmanager
    def writing_to(self, file: IO[str]) -> Iterator[None]:
        """Inside, lines go to `file`; after, to whatever stderr is then."""
        before, self._file = self._file, file
        try:
            yield
        finally:
            self._file = before


console = _Console(stderr=True, highlight=False)
"""Where our own lines go; `chatter.libraries_quiet` keeps it on the terminal while stderr goes to a file."""

Report = Callable[[float, float], None]
_speaker: ContextVar[str] = ContextVar("speaker", default="")
_unheard: ContextVar[bool] = ContextVar("unheard", default=False)
_shared: Progress | None = None
_quiet = _verbose = False


def terminal() -> int | None:
    """The file descriptor of the console; None where it has none."""
    try:
        return console.file.fileno()
    except (OSError, ValueError):
        return None


def say(text: str) -> None:
    """One line to the user and to the log, after the model's name while several are at work; without credentials."""
    if _unheard.get():
        return
    name = _speaker.get()
    line = f"{name}: {text.strip()}" if name else text
    OWN.info(line)
    _print(line)


def tell(text: str) -> None:
    """One line about what happens inside the stage that `say` named."""
    say(f"  {text}")


def set_loudness(*, quiet: bool = False, verbose: bool = False) -> None:
    """From now on `say` and bars are silent (quiet), or what libraries print is shown beside being logged (verbose)."""
    global _quiet, _verbose
    _quiet, _verbose = quiet, verbose


def is_verbose() -> bool:
    """Whether people want to see what libraries print."""
    return _verbose


def _print(text: str) -> None:
    if not _quiet:
        show(text)


def show(text: str) -> None:
    """One line to the user, however quiet the program should be: a result."""
    with suppress(OSError):  # a closed terminal, or a full disk under a file
        console.print(f"{datetime.now():%H:%M:%S}  {redacted(text)}", markup=False, soft_wrap=True)


@contextmanager
def speaking_of(name: str) -> Iterator[None]:
    """Inside, lines and bars of this thread carry `name`."""
    token = _speaker.set(name)
    try:
        yield
    finally:
        _speaker.reset(token)


@contextmanager
def unheard() -> Iterator[None]:
    """Inside, this thread says nothing and shows no bar."""
    token = _unheard.set(True)
    try:
        yield
    finally:
        _unheard.reset(token)


@contextmanager
def side_by_side() -> Iterator[None]:
    """Inside, the bars of all threads stand under each other; a terminal has room for one live display only."""
    global _shared
    if not console.is_terminal:
        yield
        return
    with _display() as _shared:
        try:
            yield
        finally:
            _shared = None


def _display() -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), _Rate(), TimeElapsedColumn(), TimeRemainingColumn())
    title = TextColumn("{task.description}", markup=False)
    return Progress(title, *columns, console=console, transient=True)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


@contextmanager
def bar(title: str) -> Iterator[Report]:
    """Yields report(done, total).

    A bar with rate and time left on a terminal; elsewhere a line with both every 20 seconds.
    """
    if _quiet or _unheard.get():
        yield lambda done, total: None
        return
    if name := _speaker.get():
        title = f"{name}: {title}"
    if _shared is None and not console.is_terminal:
        yield _lines(title)
        return
    with nullcontext(_shared) if _shared is not None else _display() as progress:
        task = progress.add_task(title, total=None)
        try:
            yield lambda done, total: progress.update(task, completed=done, total=total)
        finally:
            progress.remove_task(task)


def _lines(title: str) -> Report:
    began = last = time.monotonic()

    def report(done: float, total: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _LINE_EVERY_S and 0 < done < total:
            last = now
            rate = done / (now - began)
            left = duration((total - done) / rate)
            _print(f"  {title}: {done:.0f} of {total:.0f}, {rate:.1f}/s, about {left} left")

    return report
