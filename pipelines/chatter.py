"""Keeps the console for our own lines: what libraries log, warn and print goes to a file beside the store."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_QUIET = {
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "DS_ACCELERATOR": os.environ.get("DS_ACCELERATOR", ""),
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextmanager
def libraries_quiet(log: Path) -> Iterator[None]:
    """Inside, log records and warnings go to `log`, and so does whatever libraries print to stdout."""
    for name, value in _QUIET.items():
        if value:
            os.environ.setdefault(name, value)
    log.parent.mkdir(parents=True, exist_ok=True)
    root = logging.getLogger()
    handler = logging.FileHandler(log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    before = root.handlers[:]
    root.handlers = [handler]
    logging.captureWarnings(True)
    stdout = sys.stdout
    try:
        with log.open("a", encoding="utf-8") as file, warnings.catch_warnings():
            sys.stdout = file
            yield
    finally:
        sys.stdout = stdout
        root.handlers = before
        handler.close()
        logging.captureWarnings(False)
