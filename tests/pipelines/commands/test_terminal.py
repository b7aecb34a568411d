"""What commands print on a terminal is ours alone: what libraries log, warn and draw goes elsewhere."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.pipelines.notebook.conftest import model, store

__all__ = ["model", "store"]
ROOT = Path(__file__).parents[3]
OURS = re.compile(r"\d\d:\d\d:\d\d  +\S.*|polyneuron: .*|0 rows|  .*")
"""A line of progress, a message with what follows it, or that there are no rows."""
THEIRS = re.compile(r"WARNING|Warning|deprecat|\d+%\||it/s\]|INFO \d\d-\d\d|site-packages")
READ_BY = {
    "query": ["SELECT * FROM impacts WHERE false"],
    "neurons": ["--set", "shared"],
    "neuron": ["L0.ffn.1"],
    "table": ["--format", "md"],
    "ls": ["variants"],
    "say": ["--off", "shared", "--max-tokens", "2", "Habari"],
    "chat": ["--off", "shared", "--max-tokens", "2"],
    "export": ["shared", "exported"],
    "report": [],
    "trend": [],
    "push": ["lab/nowhere"],
}
"""Commands on a store, and what they are asked."""
OTHERS = {
    "pull": ["lab/nowhere"],
    "init": ["study.yaml"],
    "schema": [],
    "plan": [],
    "detect": [
        "corpus={n_detection: 4, n_heldout: 2, max_tokens: 12}",
        "detection.noise_floor=off",
        "languages=en,sw",
    ],
    "study": ["--dry-run"],
    "nightly": ["--dry-run"],
    "transfer": ["--dry-run"],
}
"""Commands without one; those on a model have it added."""


def ran(arguments: list[str], place: Path) -> tuple[list[str], subprocess.CompletedProcess[str]]:
    """A command in a process of its own."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "0",
    }
    for name in ("TRANSFORMERS_VERBOSITY", "HF_HUB_DISABLE_PROGRESS_BARS", "PYTHONWARNINGS"):
        environment.pop(name, None)
    process = subprocess.run(
        [sys.executable, "-m", "polyneuron.pipelines.cli", *arguments],
        input="Habari\n",
        capture_output=True,
        text=True,
        cwd=place,
        env=environment,
        timeout=280,
    )
    return arguments, process


@pytest.fixture
def asked(model: Path, store: Path) -> Iterator[list[list[str]]]:
    takes_model = {"plan", "detect", "study", "init"}
    yield [[name, "--store", str(store), *rest] for name, rest in READ_BY.items()] + [
        [name, *(["--model", str(model), "--languages", "en,sw"] if name in takes_model else []), *rest]
        for name, rest in OTHERS.items()
    ]


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_only_our_lines_are_printed(asked: list[list[str]], tmp_path: Path) -> None:
    found = []
    with ThreadPoolExecutor(2) as pool:
        for arguments, process in pool.map(lambda each: ran(each, tmp_path), asked):
            lines = [line for line in process.stderr.splitlines() if not OURS.fullmatch(line)]
            lines += [line for line in (process.stdout + process.stderr).splitlines() if THEIRS.search(line)]
            if lines or process.returncode not in (0, 2):
                found.append(f"{arguments[0]}, code {process.returncode}: {lines[:5]}")
    assert not found, "\n".join(found)
