"""Keeps the console for our own lines: what libraries log, warn and print goes to a file beside the store, between our lines."""

import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.neuron_core.common.redact import redacted
from polyneuron.pipelines.run.progress import OWN, console, is_verbose, show

_QUIET = {
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}

_OWN_LINE = f" {OWN.name} INFO "
_END_BYTES = 4 << 20
"""Of the log of an earlier run, which may have been killed before it was gone over."""


_LOOKS_EVERY_S = 0.2
"""Between looks at the log, where people want to see it."""


@contextmanager
def libraries_quiet(log: Path) -> Iterator[None]:
    """Inside, stdout, stderr, log records and warnings go to `log`; `progress.console` stays where it was.

    The redirection is of file descriptors, since native libraries print past Python.

    Raises:
        StoreError: `log` cannot be written.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    root = logging.getLogger()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("a", encoding="utf-8")
        _take_out_credentials(log, max(0, log.stat().st_size - _END_BYTES))  # of a run that was killed
        began_at = log.stat().st_size
    except OSError as error:
        raise StoreError(f"The log {log} cannot be written: {error.strerror}. Name another store") from error
    handler = logging.StreamHandler(file)
    handler.setFormatter(_Redacting("%(asctime)s %(name)s %(levelname)s %(message)s"))
    with file:
        before, root.handlers = root.handlers, [handler]
        logging.captureWarnings(True)
        try:
            with _descriptors_to(file.fileno()), _followed(log, began_at):
                yield
        finally:
            root.handlers = before
            logging.captureWarnings(False)
            with suppress(OSError):
                _take_out_credentials(log, began_at)


@contextmanager
def quietly() -> Iterator[None]:
    """Inside, what libraries print is not shown, unless people want it so. For commands that read a store, and keep no log."""
    with tempfile.TemporaryDirectory() as folder, libraries_quiet(Path(folder) / "libraries.log"):
        yield


@contextmanager
def _followed(log: Path, offset: int) -> Iterator[None]:
    """Inside, what is written to `log` from byte `offset` on is shown as well, without credentials, if people want it so."""
    if not is_verbose():
        yield
        return
    ended = threading.Event()

    def follow() -> None:
        with log.open(encoding="utf-8", errors="replace") as file:
            file.seek(offset)
            while True:
                last = ended.wait(_LOOKS_EVERY_S)
                for line in file:
                    if _OWN_LINE not in line:  # which the console has
                        show(line.rstrip("\n"))
                if last:
                    return

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        ended.set()
        follower.join()


def _take_out_credentials(log: Path, offset: int) -> None:
    """Rewrites what libraries printed past our formatter from byte `offset` on; in place, since others have the log open."""
    with log.open("r+b") as file:
        file.seek(offset)
        kept = file.read()
        clean = redacted(kept.decode(errors="surrogateescape")).encode(errors="surrogateescape")
        if clean != kept:
            file.seek(offset)
            file.write(clean)
            file.truncate()


class _Redacting(logging.Formatter):
    """Takes credentials out of records, tracebacks included: HTTP libraries name the URLs they ask for."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


@contextmanager
def _descriptors_to(target: int) -> Iterator[None]:
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    terminal = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
    os.dup2(target, 1)
    os.dup2(target, 2)
    try:
        with console.writing_to(terminal):
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, kept in zip((1, 2), saved, strict=True):
            os.dup2(kept, number)
            os.close(kept)
        with suppress(OSError):  # a terminal that is closed
            terminal.close()
