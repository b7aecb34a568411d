"""Where files are kept that can be made again: dequantised models, checked benchmark data, what is known of weights."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from polyneuron.neuron_core.common.errors import ConfigError

_VARIABLE = "POLYNEURON_CACHE"


def cache_folder() -> Path:
    """The cache: $POLYNEURON_CACHE, else ~/.cache/polyneuron. Raises ConfigError when there is no home folder to expand."""
    named = os.environ.get(_VARIABLE) or "~/.cache/polyneuron"
    try:
        return Path(named).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"The cache folder {named} has no meaning: {error}. Set {_VARIABLE}") from error


def writable_cache(*parts: str) -> Path:
    """A folder of the cache, which exists and can be written when this returns. Raises ConfigError, which names folder and
    variable, when it cannot; called before the work whose result is to be kept there."""
    folder = cache_folder().joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"The cache folder {folder} cannot be written: {error.strerror or error}. Set {_VARIABLE} to a folder that can "
            "be written"
        ) from error
    return folder
