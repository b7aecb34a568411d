"""The notebooks of docs/notebooks run, and keep what they show."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.neuron_core.common.test_extras import WITHOUT
from tests.notebooks import FOLDER, cells_of, run
from tests.test_docs import ROOT

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
by_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
CORE_ALONE = "from tests.notebooks import *\nrun(cells_of(Path(sys.argv[1])), Path(sys.argv[2]))"


def outputs(notebook: dict[str, Any]) -> list[list[str]]:
    """The kinds of outputs of each cell of code."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [[output["output_type"] for output in cell["outputs"]] for cell in cells]


@by_notebook
def test_it_runs_with_the_core_alone(path: Path, model: Path, store: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-c", WITHOUT + CORE_ALONE, str(path), str(tmp_path)]
    places = {"POLYNEURON_MODEL": str(model), "POLYNEURON_STORE": str(store)}
    done = subprocess.run(
        line, capture_output=True, text=True, cwd=ROOT, env=os.environ | places, timeout=280
    )
    assert done.returncode == 0, done.stderr


@by_notebook
def test_its_outputs_are_kept(path: Path) -> None:
    notebook = cells_of(path)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(outputs(notebook)[1:2]) and any(outputs(notebook)[-1])
    assert not {"error"} & {kind for kinds in outputs(notebook) for kind in kinds}
    assert len(path.read_text("utf-8")) < 120_000


def test_what_a_cell_prints_and_shows_is_what_jupyter_would(tmp_path: Path) -> None:
    sources = ["x = 2\nprint(x)", "x + 1", "x;\nNone"]
    notebook = {"cells": [{"cell_type": "code", "source": [source]} for source in sources]}
    run(notebook, tmp_path)
    assert outputs(notebook) == [["stream"], ["execute_result"], []]
    assert notebook["cells"][1]["outputs"][0]["data"] == {"text/plain": ["3"]}  # type: ignore[index]
