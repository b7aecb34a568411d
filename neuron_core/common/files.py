"""Files and folders that appear whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from polyneuron.neuron_core.common.errors import SetError


def write_whole(path: str | Path, write: Callable[[Path], object], noun: str) -> Path:
    """Lets `write` fill a temporary file beside `path`, which then takes its place; returns `path`. Raises SetError when
    the place cannot be written; what was there before is untouched. `noun`: what was to be written."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise SetError(f"The {noun} cannot be written to {path}: {error}") from error
    finally:
        if temporary.exists():
            temporary.unlink()
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
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
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
        shutil.rmtree(temporary, ignore_errors=True)
