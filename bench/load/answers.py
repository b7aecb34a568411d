"""`polyneuron query "select * from impacts"` on a store with many rows: how soon the first row is there, and every format."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.load.case import LoadCase, Step
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.impacts.schema import IMPACTS_SCHEMA

_FILES = 30
_SQL = "select * from impacts"


def _prepare(folder: Path, size: int) -> None:
    """A store of as many rows of impacts, in 30 units, as a study of 30 languages writes them."""
    store, rows = Store(folder / "store"), max(1, size // _FILES)
    for number in range(_FILES):
        code = f"l{number}"
        values = np.random.default_rng(number).random(rows, np.float32)
        constants = {"language": code, "group": "ffn", "bounded": False}
        columns = []
        for field in IMPACTS_SCHEMA:
            if pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type):
                columns.append(pa.array([[value] * 5 for value in values.tolist()], field.type))
            elif field.name in constants:
                columns.append(pa.repeat(pa.scalar(constants[field.name], field.type), rows))
            elif pa.types.is_integer(field.type):
                columns.append(pa.array(np.arange(rows)).cast(field.type))
            else:
                columns.append(pa.array(values).cast(field.type))
        table = pa.Table.from_arrays(columns, schema=IMPACTS_SCHEMA)
        store.write(
            "impacts", table, f"unit-{number}", {"model": "synthetic", "language": code}, run_id="run"
        )


def _first_row(folder: Path, size: int) -> None:
    """From the start of the command to its first row on a pipe, whose reader then leaves."""
    line = [sys.executable, "-m", "polyneuron.pipelines.cli", "query", _SQL, "--store", str(folder / "store")]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as command:
        assert command.stdout is not None
        head, row = command.stdout.readline(), command.stdout.readline()
        command.stdout.close()
        assert b"neuron" in head and row


def _written(form: str, folder: Path, size: int) -> None:
    """All rows to a file, in this process, so that its memory is measured."""
    from polyneuron.pipelines.cli import app

    to = folder / f"answer.{form}"
    app(["query", _SQL, "--store", str(folder / "store"), "-o", str(to)], standalone_mode=False)
    assert to.stat().st_size > size
    to.unlink()


_STEPS: dict[str, Step] = {"first row": _first_row}
_STEPS |= {form: partial(_written, form) for form in ("csv", "json", "parquet")}

CASES = {"answers": LoadCase(unit="rows", full=3_000_000, smallest=_FILES, prepare=_prepare, steps=_STEPS)}
