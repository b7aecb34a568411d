"""Small store tables for tests."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from polyneuron.eval.store.schemas import TABLES

MODEL = "org/tiny model"


def impacts(language: str, n: int = 4, model: str = MODEL, **changed: Any) -> pa.Table:
    """`n` neurons of one layer and group; the last is bounded, so its optional columns are null."""
    columns: dict[str, Any] = {
        "model": [model] * n,
        "language": [language] * n,
        "layer": pa.array([0] * n, pa.int32()),
        "group": ["q"] * n,
        "neuron": pa.array(range(n), pa.int32()),
        "impact_min": pa.array([0.5 + i for i in range(n)], pa.float32()),
        "impact_mean": pa.array([1.5 + i for i in range(n - 1)] + [None], pa.float32()),
        "impact_max": pa.array([2.5 + i for i in range(n - 1)] + [None], pa.float32()),
        "impact_rms_min": pa.array([0.25 + i for i in range(n)], pa.float32()),
        "impact_seed": pa.array([0.75 + i for i in range(n)], pa.float32()),
        "impact_smallest": pa.array(
            [[0.25 + i, 0.5 + i] for i in range(n - 1)] + [None], pa.list_(pa.float32())
        ),
        "rank_worst": pa.array([0.1 * i for i in range(n - 1)] + [None], pa.float32()),
        "bounded": [False] * (n - 1) + [True],
        "impact_seed_min": pa.array([0.75 + i for i in range(n - 1)] + [None], pa.float32()),
        "impact_seed_rms_min": pa.array([0.5 + i for i in range(n - 1)] + [None], pa.float32()),
    }
    return pa.table(columns | changed)


def run_row(run_id: str = "run-1") -> pa.Table:
    row = {name: "x" for name in TABLES["runs"].schema.names if name != "unit"} | {"run_id": run_id}
    return pa.Table.from_pylist([row])


def listed_units(*units: tuple[str, str]) -> pa.Table:
    """Rows of `studies`: pairs of a table and a unit."""
    return pa.Table.from_pylist([{"table": table, "unit": unit} for table, unit in units])


def metrics(values: list[float | None]) -> pa.Table:
    rows = [
        {
            "model": MODEL,
            "selection": "default",
            "metric": f"m{i}",
            "language": None,
            "value": value,
            "low": None,
            "high": None,
            "null_reason": None if value is not None else "ΔPPL ≤ 0",
            "n_bootstrap": 10,
            "seed": 0,
        }
        for i, value in enumerate(values)
    ]
    return pa.Table.from_pylist(rows)


def samples(values: Sequence[float | None], variant: str = "base", **changed: Any) -> pa.Table:
    """One item a value, in one benchmark and language; `changed`: columns, one value or one an item."""
    rows = [
        {
            "model": "org/model",
            "variant": variant,
            "night": None,
            "benchmark": "xnli",
            "language": "sw",
            "task": "xnli_sw",
            "item": i,
            "metric": "acc",
            "filter": "none",
            "value": value,
            "target": "0",
            "response": None,
            "doc_hash": f"d{i}",
            "prompt_hash": f"p{i}",
            "tokens_hash": f"t{i}",
        }
        | {name: given[i] if isinstance(given, list) else given for name, given in changed.items()}
        for i, value in enumerate(values)
    ]
    schema = pa.schema([field for field in TABLES["samples"].schema if field.name not in ("run_id", "unit")])
    return pa.Table.from_pylist(rows, schema=schema)
