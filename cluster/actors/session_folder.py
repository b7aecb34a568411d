"""Folders of one local Ray: its sockets and logs, and the temporary files of all that it runs. Nothing of them outlives it, but
after SIGKILL; then the next study takes them away."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "polyneuron-ray-"
_LONGEST_FOLDER = 43
"""In bytes: Ray makes sockets 64 bytes further down, and no socket may have a path of more than 107."""
_REMOVALS, _BETWEEN_REMOVALS_S = 25, 0.2
_MADE_S = 60.0
"""A folder without a lock is being made for less than this."""


@contextmanager
def private_folders() -> Iterator[tuple[Path, Path]]:
    """A folder for Ray's session, and one for the temporary files of its processes, which lies where $TMPDIR says. Both end with
    the block. Those of processes that were killed are removed first."""
    remove_abandoned()
    base, temporary = _base(), Path(tempfile.gettempdir())
    with _private_folder(base) as folder:
        if base == temporary:
            inside = folder / "t"
            inside.mkdir()
            yield folder, inside
        else:
            with _private_folder(temporary) as other:
                yield folder, other


def remove_abandoned() -> None:
    """Removes the folders of sessions that were killed."""
    for base in {_base(), Path(tempfile.gettempdir())}:
        for abandoned in base.glob(f"{_PREFIX}*"):
            with suppress(OSError):  # somebody else's
                if _is_old(abandoned) and not (abandoned / "lock").exists():  # half removed
                    remove_session(abandoned)
                    continue
                with (abandoned / "lock").open() as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove_session(abandoned)


def remove_session(folder: Path) -> None:
    """Removes a session's folder. Again and again for a few seconds: what ends may write in it to the last, and a folder that is
    no longer empty stays."""
    for _ in range(_REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_BETWEEN_REMOVALS_S)


def _is_old(folder: Path) -> bool:
    """Whether a folder is no longer just being made."""
    return time.time() - folder.stat().st_mtime > _MADE_S


@contextmanager
def _private_folder(base: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    try:
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        remove_session(folder)


def _base() -> Path:
    base = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    too_long = len(os.fsencode(base)) + len(_PREFIX) + 11 > _LONGEST_FOLDER
    return Path("/tmp") if too_long else base
