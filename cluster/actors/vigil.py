"""Watches the processes without which a local Ray cannot go on. Left to itself, Ray waits a minute for them and then ends this
process without a word; here the loss is an error at once, and where Ray's own waits cannot be left, a message and an end."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from polyneuron.cluster.actors import survivor
from polyneuron.neuron_core.common.errors import ClusterError

_NEEDED = ("gcs_server", "raylet")
"""As Ray names the kinds of its processes."""
_POLL_S = 0.5
_PATIENCE_S, _TO_CLOSE_S = 15.0, 30.0
"""From the loss until this process is ended, should it hang in one of Ray's calls, or while Ray is shut down. Ray ends it
after 60."""
_EXIT_CODE = 2
_KILLED = (
    "The study was killed, or ended by Ray, which lost a process of its own. Finished units are in the store: run the same "
    "command again"
)
_ended: Callable[[], str | None] | None = None


def _to_stderr(message: str) -> None:
    print(f"polyneuron: {message}", file=sys.stderr, flush=True)


_say: Callable[[str], None] = _to_stderr
_terminal: int | None = None


def is_lost() -> bool:
    """Whether a process has ended that the local Ray cannot do without."""
    return _ended is not None and _ended() is not None


def raise_if_lost(cause: BaseException | None = None) -> None:
    """Raises ClusterError, `cause` being what was seen of it, when a process has ended that the local Ray cannot do without."""
    if _ended is not None and (name := _ended()) is not None:
        raise ClusterError(_message(name)) from cause


@contextmanager
def last_words(say: Callable[[str], None], terminal: int | None) -> Iterator[None]:
    """Inside, `say` is given the message of an end that nothing else in this process can tell of; terminal: the file descriptor
    where another process tells of it, stderr where there is none."""
    global _say, _terminal
    before = _say, _terminal
    _say, _terminal = say, terminal
    try:
        yield
    finally:
        _say, _terminal = before


@contextmanager
def survived(entry: str, folders: Sequence[Path]) -> Iterator[Callable[[], None]]:
    """Inside, another process waits for this one to be killed, to clean up after it. entry: of the environment of all processes
    of a session; folders: of that session. Yields what tells it that there is nothing to do; so does the end of the block."""
    line = [sys.executable, "-I", "-S", survivor.__file__, entry, _KILLED, *map(str, folders)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stderr=_terminal, start_new_session=True) as waiting:

        def closed() -> None:
            with suppress(OSError, ValueError), waiting.stdin as stream:  # type: ignore[union-attr]
                stream.write(b"closed")

        try:
            yield closed
        finally:
            closed()


@contextmanager
def vigil(nodes: Sequence[Any], end_all: Callable[[], None]) -> Iterator[threading.Event]:
    """Inside, the processes of `nodes`, objects of Ray, are watched; yields what is to be set when Ray is about to be shut down.
    end_all: ends what is left of Ray, for when this process must be ended too."""
    global _ended

    def ended() -> str | None:
        for node in nodes:
            for name in _NEEDED:
                if any(info.process.poll() is not None for info in started_by(node).get(name, ())):
                    return name
        return None

    closing, over = threading.Event(), threading.Event()

    def watch() -> None:
        while (name := ended()) is None:
            if over.wait(_POLL_S):
                return
        lost = time.monotonic()
        while time.monotonic() - lost < (_TO_CLOSE_S if closing.is_set() else _PATIENCE_S):
            if over.wait(_POLL_S):
                return
        with suppress(Exception):
            _say(_message(name))
        with suppress(Exception):
            end_all()
        os._exit(_EXIT_CODE)

    watching = threading.Thread(target=watch, name="vigil", daemon=True)
    watching.start()
    _ended = ended
    try:
        yield closing
    finally:
        _ended = None
        over.set()
        watching.join()


def started_by(node: Any) -> dict[str, list[Any]]:
    """What one of Ray's nodes has started, by kind; a node that is being made has started nothing yet."""
    return dict(getattr(node, "all_processes", {}))


def _message(name: str) -> str:
    return (
        f"Ray's process {name} has ended: it was killed, or the machine is short of memory. Finished units are in the store: "
        "run the same command again"
    )
