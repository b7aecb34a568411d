"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from polyneuron.neuron_core.common.errors import SetError


def write_whole(path: str | Path, write: Callable[[Path], object], noun: str) -> Path:
    """Lets `write` fill a temporary file beside `path`, which then takes its place; returns `path`.

    Raises:
        SetError: the place cannot be written; what was there before is untouched. noun: what was to be written.
    """
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
