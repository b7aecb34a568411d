"""Rows of the tables scores and verdicts, small enough to check by eye."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store

MODEL = "tiny/model-a"
RUN = "run-0001"


def score(variant: str, language: str, value: float | None, **other: Any) -> dict[str, Any]:
    """A primary score of MMMLU over 50 items; `other` columns replace what is usual."""
    kind = variant.split("-")[0]
    row = {
        "model": MODEL,
        "variant": variant,
        "kind": kind,
        "set_language": variant.split("-")[1] if kind == "exclusive" else None,
        "control_of": variant.removeprefix("control-").rpartition("-")[0] if kind == "control" else None,
        "seed": None,
        "n_neurons": 0 if kind == "base" else 12,
        "night": None,
        "benchmark": "mmmlu",
        "language": language,
        "metric": "acc",
        "filter": "none",
        "primary": True,
        "n": 50,
        "n_unscored": 0,
        "value": value,
        "stderr": None,
        "low": None if value is None else max(0.0, value - 0.1),
        "high": None if value is None else min(1.0, value + 0.1),
        "interval": "wilson",
        "stand_in": None,
        "null_reason": None,
        "task_version": "1",
        "n_shots": 5,
        "max_gen_toks": None,
        "backend": "vllm",
        "dtype": "bfloat16",
        "bos": True,
        "dataset": "openai/MMMLU",
        "revision": "0123456789abcdef",
        "data": "hub",
        "settings_json": "{}",
    }
    return row | other


def unavailable(variant: str, language: str, reason: str, **other: Any) -> dict[str, Any]:
    """What the evaluation writes for a language the benchmark lacks."""
    nothing = dict.fromkeys(("interval", "task_version", "n_shots", "dataset", "revision"))
    named = {"metric": "none", "filter": "none", "n": 0, "null_reason": reason, "data": "none"}
    return score(variant, language, None, **(nothing | named | other))


def verdict(
    variant: str, language: str, delta: float | None, found: str, baseline: str = "base", **other: Any
) -> dict[str, Any]:
    """Of 50 pairs; the two values are left null, as if items had been left out."""
    row = {
        "model": MODEL,
        "night": None,
        "benchmark": "mmmlu",
        "language": language,
        "metric": "acc",
        "filter": "none",
        "variant": variant,
        "baseline": baseline,
        "n_pairs": 0 if delta is None else 50,
        "value": None,
        "baseline_value": None,
        "delta": delta,
        "low": None if delta is None else delta - 0.05,
        "high": None if delta is None else delta + 0.05,
        "test": None if delta is None else "McNemar's exact test, two-sided",
        "p_value": None if delta is None else 0.01,
        "p_adjusted": None if delta is None else 0.02,
        "alpha": 0.05,
        "min_effect": 0.0,
        "verdict": found,
        "reason": None,
    }
    return row | other


def add(
    store: Store,
    scores: list[dict[str, Any]],
    verdicts: list[dict[str, Any]] | None = None,
    run_id: str = RUN,
    mark: str = "",
) -> list[str]:
    """Write them as the stages do, a unit for each score and one for all verdicts; the units."""
    units = []
    for row in scores:
        names = ("model", "variant", "night", "benchmark", "language")
        units.append(":".join(["score", run_id, mark, *(str(row[name]) for name in names)]))
        _put(store, "scores", [row], units[-1], run_id)
    if verdicts:
        units.append(f"verdicts:{run_id}:{mark}:{verdicts[0]['model']}:{verdicts[0]['night']}")
        _put(store, "verdicts", verdicts, units[-1], run_id)
    return units


def usual(languages: tuple[str, ...] = ("en", "sw"), **other: Any) -> list[dict[str, Any]]:
    """Base at 50 points, the shared set off at 20, two draws at 48, Swahili's own set off at 40."""
    values = {
        "base": 0.5,
        "shared": 0.2,
        "control-shared-0": 0.48,
        "control-shared-1": 0.46,
        "exclusive-sw": 0.4,
    }
    return [score(name, lang, value, **other) for name, value in values.items() for lang in languages]


def usual_verdicts(languages: tuple[str, ...] = ("en", "sw"), **other: Any) -> list[dict[str, Any]]:
    found = []
    for lang in languages:
        found += [verdict("shared", lang, -0.3, "worse", **other)]
        found += [
            verdict(f"control-shared-{i}", lang, -0.02 * (i + 1), "no evidence", **other) for i in (0, 1)
        ]
        found += [verdict("exclusive-sw", lang, -0.1, "no evidence", **other)]
        found += [verdict("shared", lang, -0.27, "worse", f"control-shared-{i}", **other) for i in (0, 1)]
    return found


def _put(store: Store, table: str, rows: list[dict[str, Any]], unit: str, run_id: str) -> None:
    marked = [{"run_id": run_id, "unit": unit} | row for row in rows]
    store.write(
        table, pa.Table.from_pylist(marked, schema=TABLES[table].schema), unit, {"model": rows[0]["model"]}
    )
