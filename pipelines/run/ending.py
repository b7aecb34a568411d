"""How a command ends that does not come to its end: by a signal, or by an error that nobody foresaw."""

import _thread
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from polyneuron.neuron_core.common.errors import in_few_lines
from polyneuron.neuron_core.common.redact import redacted

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_CLOSING_S = 30.0
"""How long workers and files may take to be closed before another signal counts."""
_AGAIN_S = 0.2
_log: Path | None = None


@contextmanager
def ended_by_signals() -> Iterator[list[int]]:
    """Inside, SIGTERM, and SIGHUP, which a terminal sends that is closed, do as Ctrl-C does: they raise KeyboardInterrupt in
    the main thread, which Ray knows to let through, so that what is open is closed and the run recorded. More of them are
    ignored while that goes on. A signal that was ignored already, as under nohup, stays so. Yields the list of those that came.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may set handlers
        return
    before = {
        number: handler for number in _SIGNALS if (handler := signal.getsignal(number)) is not signal.SIG_IGN
    }
    closing_until, unraisable = 0.0, sys.unraisablehook

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal closing_until
        if number == signal.SIGHUP:
            _to_nowhere(0, 1, 2)
        if time.monotonic() > closing_until:
            closing_until = time.monotonic() + _CLOSING_S
            received.append(number)
            raise KeyboardInterrupt

    def ignored(lost: "sys.UnraisableHookArgs") -> None:
        """An interruption is lost where it meets a destructor or a callback, such as those of a fork: it comes once more. As
        the signal that it was: in a shell's background SIGINT is ignored."""
        nonlocal closing_until
        if issubclass(lost.exc_type, KeyboardInterrupt):
            closing_until = 0.0
            number = received.pop() if received else signal.SIGINT
            threading.Timer(_AGAIN_S, _thread.interrupt_main, [number]).start()
        else:
            unraisable(lost)

    for number in before:
        signal.signal(number, end)
    sys.unraisablehook = ignored
    try:
        yield received
    finally:
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_stdout() -> None:
    """What is still printed goes nowhere: nobody reads it any more."""
    _to_nowhere(1)


def _to_nowhere(*streams: int) -> None:
    """Lets nothing fail that is still printed to a pipe without a reader, or to a terminal that is closed."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in streams:
        with suppress(OSError):
            os.dup2(nowhere, stream)
    os.close(nowhere)


def print_error(message: str) -> None:
    """Prints what went wrong on standard error, in a few lines, under the program's name."""
    with suppress(OSError):  # nobody may be there to read it
        print(f"polyneuron: {in_few_lines(message)}", file=sys.stderr, flush=True)


def log_of(store: str) -> Path:
    """The log of the runs on a store: in its folder, or in the current one where the store is a URL."""
    return (Path.cwd() if "://" in store else Path(store)) / "polyneuron.log"


def keep_tracebacks_beside(store: str) -> None:
    """From now on, tracebacks of errors that nobody foresaw go to the log of this store, once its folder is there."""
    global _log
    _log = log_of(store)


def unexpected(error: BaseException) -> str:
    """Writes the traceback to the log and returns the message to people: what happened, where the log lies, what to do."""
    stamp = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    text = redacted("".join(traceback.format_exception(error)))
    place = _appended(f"{stamp} polyneuron ERROR {text}") or "nowhere, since nothing can be written here"
    return redacted(
        f"{unforeseen(error)}\nThis is a fault of Polyneuron, or of a "
        f"library that it uses. The traceback is in {place}: please report it, with the command and the configuration"
    )


def unforeseen(error: BaseException) -> str:
    """What happened, in one line: the kind of the error, and the first line of what it says."""
    return f"unexpected {type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"


def _appended(text: str) -> str | None:
    """Where `text` was written: to the store's log, else to a file of its own; None where neither can be written."""
    with suppress(OSError):
        if _log is not None and _log.parent.is_dir():
            with _log.open("a", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(text)
            return str(_log)
    with (
        suppress(OSError),
        tempfile.NamedTemporaryFile(
            "w",
            encoding="utf-8",
            errors="backslashreplace",
            prefix="polyneuron-",
            suffix=".log",
            delete=False,
        ) as kept,
    ):
        kept.write(text)
        return kept.name
    return None
