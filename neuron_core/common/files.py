"""Files and folders that appear whole or not at all."""

import glob
import os
import shutil
import socket
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from polyneuron.neuron_core.common.boundary import errors_become
from polyneuron.neuron_core.common.errors import PolyneuronError, SetError


def temporary_beside(path: Path) -> Path:
    """A name beside `path` for a file or folder that is to take its place; nobody else uses it. What writers of the same path
    left that were killed on this machine is removed."""
    here = _machine()
    for left in path.parent.glob(f".{glob.escape(path.name)}.{here}.*.tmp"):
        if not _runs(left.name.split(".")[-3]):
            remove(left)
    return path.with_name(f".{path.name}.{here}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")


def require_free(folder: Path, kind: type[PolyneuronError]) -> None:
    """Raises `kind` when something is there that is not an empty folder, or where no folder can be."""
    with errors_become(kind, "No folder can be there", "Name another"):
        is_free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not is_free:
        raise kind(f"{folder} exists already and is not an empty folder; give another, or remove it first")


def remove(path: Path) -> None:
    """Removes a file or a folder, as far as it is there and may be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _machine() -> str:
    """Stands for the processes among which a process id means one: those of this machine, or of this container."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    return f"{zlib.crc32(f'{socket.gethostname()} {namespace}'.encode()):08x}"


def _runs(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):
        pass  # somebody else's
    return True


def why_not_written(path: Path, error: Exception) -> str:
    """Why a file or folder could not be put at `path`, in words that name no temporary file of ours."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    if path.is_dir():
        return "it is a folder"
    return getattr(error, "strerror", None) or str(error)


def write_whole(path: str | Path, write: Callable[[Path], object], noun: str) -> Path:
    """Lets `write` fill a temporary file beside `path`, which then takes its place; returns `path`. Raises SetError when
    the place cannot be written; what was there before is untouched. `noun`: what was to be written."""
    path = Path(path)
    temporary = temporary_beside(path)
    try:
        write(temporary)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise SetError(f"The {noun} cannot be written to {path}: {why_not_written(path, error)}") from error
    finally:
        remove(temporary)
    return path


def write_text(path: Path, text: str, noun: str) -> Path:
    """Writes `text` to a file, whose folder is made if need be; as `write_whole`."""

    def write(temporary: Path) -> None:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")

    return write_whole(path, write, noun)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Inside, a temporary folder to fill beside `folder`; after, it takes that place, on the disk as a whole. What another
    process has put there first, stays. An exception leaves nothing behind. Raises OSError when the place cannot be written."""
    temporary = temporary_beside(folder)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    finally:
        remove(temporary)
