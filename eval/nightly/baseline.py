"""The nights a store holds for a model, which of them to compare with, and whether they can be compared.

A night is a label shared by all scores of one nightly run, however often that run was resumed. Its run writes
the label into its configuration (key `night`) and ends with the status "ok" when nothing had become worse.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from polyneuron.eval.store.store import Store
from polyneuron.eval.verdicts.pairing import Key
from polyneuron.neuron_core.common.errors import PolyneuronError, StoreError

OK_STATUS = "ok"
"""Status of the run of a good night."""

SETTINGS = [
    "task_version",
    "n_shots",
    "max_gen_toks",
    "backend",
    "dtype",
    "bos",
    "dataset",
    "revision",
    "data",
    "stand_in",
]
"""Columns of `scores` that must agree before two nights are compared."""

NO_TASK = "none"
"""Metric of the row that stands for a benchmark a language does not have."""

Row: TypeAlias = dict[str, Any]


class SettingsMismatch(PolyneuronError):
    """Two nights that were not measured under the same settings."""


@dataclass(frozen=True)
class Night:
    """One night of a model. started_at: of its first run (ISO 8601), None where no run is recorded; status: of
    its latest run; run_ids: in the order in which they started."""

    label: str
    started_at: str | None
    status: str | None
    run_ids: tuple[str, ...]


@dataclass(frozen=True)
class NightResults:
    """What one night measured: rows of `scores` by variant and key, and the samples behind them."""

    label: str
    scores: dict[tuple[str, Key], Row]
    unavailable: dict[tuple[str, str, str], str]
    """Why a variant's benchmark has no task in a language: by variant, benchmark, language."""
    samples: pa.Table

    def samples_of(self, variant: str) -> pa.Table:
        """The samples of one variant."""
        return self.samples.filter(pc.field("variant") == variant)


def nights(store: Store, model: str) -> list[Night]:
    """The nights with scores of `model`, oldest first; those without a recorded run come before all others."""
    labels = pc.unique(store.read("scores", [("model", "=", model)], ["night"])["night"]).to_pylist()
    runs: dict[str, list[Row]] = {label: [] for label in labels if label is not None}
    for row in sorted(
        store.read("runs", columns=["run_id", "started_at", "status", "config_json"]).to_pylist(),
        key=lambda row: (row["started_at"], row["run_id"]),
    ):
        label = _night_of(row)
        if label in runs:
            runs[label].append(row)
    found = []
    for label, rows in runs.items():
        started_at, status = (rows[0]["started_at"], rows[-1]["status"]) if rows else (None, None)
        found.append(Night(label, started_at, status, tuple(row["run_id"] for row in rows)))
    return sorted(found, key=lambda night: (night.started_at or "", night.label))


def last_good(store: Store, model: str, before: str) -> Night | None:
    """The newest night of `model` that began before the night `before` and whose latest run ended "ok". None where there is none:
    then this is the first night. Raises StoreError when `before` is no night."""
    found = nights(store, model)
    at = found.index(find_night(store, model, before))
    return next((night for night in reversed(found[:at]) if night.status == OK_STATUS), None)


def find_night(store: Store, model: str, name: str) -> Night:
    """The night with the label or the run id `name`. Raises StoreError listing the nights where there is none."""
    found = nights(store, model)
    named = [night for night in found if night.label == name] + [n for n in found if name in n.run_ids]
    if named:
        return named[0]
    listed = ", ".join(f"{night.label} ({night.status or 'no run recorded'})" for night in found) or "none"
    raise StoreError(f"{store.root} holds no night or run {name!r} of {model}. Its nights are: {listed}.")


def read_night(store: Store, model: str, label: str, variants: Sequence[str]) -> NightResults:
    """The results of one night for `variants`. What a resumed night measured twice is taken from its newest run. Raises
    StoreError: see `Store.read`."""
    where = [("model", "=", model), ("night", "=", label), ("variant", "in", list(variants))]
    rows = newest(store.read("scores", where).to_pylist(), started_at(store))
    samples = store.read("samples", [*where, ("unit", "in", sorted({row["unit"] for row in rows}))])
    results = NightResults(label, {}, {}, samples)
    for row in rows:
        if row["metric"] == NO_TASK:
            place = row["variant"], row["benchmark"], row["language"]
            results.unavailable[place] = row["null_reason"] or "there is no task"
        else:
            results.scores[row["variant"], key_of(row)] = row
    return results


def started_at(store: Store) -> dict[str, str]:
    """When each run of a store started, by its id (ISO 8601)."""
    rows = store.read("runs", columns=["run_id", "started_at"]).to_pylist()
    return {row["run_id"]: row["started_at"] for row in rows}


def newest(scores: Sequence[Row], started: dict[str, str]) -> list[Row]:
    """Of rows of the table `scores` of one night those that are not measured anew in a later run. A unit holds all metrics of one
    variant, benchmark and language: the newest replaces the older one whole."""
    rows = sorted(scores, key=lambda row: (started.get(row["run_id"], ""), row["run_id"], row["unit"]))
    units = {(row["variant"], row["benchmark"], row["language"]): row["unit"] for row in rows}
    return [row for row in rows if row["unit"] == units[row["variant"], row["benchmark"], row["language"]]]


def key_of(row: Row) -> Key:
    """What a row of the tables `scores` or `verdicts` is about, beside the variant."""
    return row["benchmark"], row["language"], row["metric"], row["filter"]


def require_same_settings(night: NightResults, baseline: NightResults) -> None:
    """Raises SettingsMismatch naming the first setting that differs, where, and both values."""
    for variant, key in sorted(night.scores.keys() & baseline.scores.keys()):
        row, other = night.scores[variant, key], baseline.scores[variant, key]
        for name in SETTINGS:
            if row[name] != other[name]:
                benchmark, language, metric, answer_filter = key
                raise SettingsMismatch(
                    f"{benchmark} in {language} ({metric}, filter {answer_filter}) of {variant} was measured with "
                    f"{name} = {row[name]!r} in night {night.label} and with {name} = {other[name]!r} in night "
                    f"{baseline.label}, so the two cannot be compared. Name a baseline night with the same "
                    "settings, or measure one."
                )


def _night_of(run: Row) -> str | None:
    try:
        config = json.loads(run["config_json"] or "{}")
    except ValueError as error:
        raise StoreError(
            f"The configuration of run {run['run_id']} is no JSON ({error}). Remove that run from the store."
        ) from error
    label = config.get("night") if isinstance(config, dict) else None
    return label if isinstance(label, str) else None
