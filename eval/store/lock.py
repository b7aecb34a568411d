"""The exclusive study lock: the operating system holds it, so it ends with its holder, however that dies."""

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polyneuron.neuron_core.common.errors import StoreError

_held: set[int] = set()


def _let_go_in_child() -> None:
    # A forked child shares the parent's lock: if it outlived a killed parent, the store would stay locked.
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


@contextmanager
def exclusive_lock(path: Path, store: str) -> Iterator[None]:
    """Holds `path` (made if need be) by flock. Raises StoreError at once, naming the holder, when another holds it. `store` names
    the store in messages. Raises OSError when the file cannot be opened or written."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    _held.add(descriptor)
    try:
        _take(descriptor, store)
        yield
    finally:
        if descriptor in _held:
            _held.discard(descriptor)
            os.close(descriptor)


def _take(descriptor: int, store: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreError(
            f"The store {store} is in use by another study ({_holder(descriptor)}). "
            "Wait until it ends, stop it, or give this study another store folder."
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        raise StoreError(
            f"The file system of {store} has no file locks ({error.strerror}). "
            "Put the store on a disk that has them."
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(holder['pid'])} on {holder['host']}"
    except (ValueError, KeyError, TypeError):
        return "a process that has not yet written its name"
