"""The nights of a store, the last good one, and the settings that two nights must share."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from polyneuron.eval.nightly.baseline import (
    SETTINGS,
    SettingsMismatch,
    find_night,
    last_good,
    nights,
    read_night,
    require_same_settings,
)
from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError

MODEL = "org/tiny model"
Values = Mapping[tuple[str, str], Sequence[float | None]]
"""Item values by benchmark and language."""


def table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    """Rows of a table of the store, without run_id and unit."""
    schema = pa.schema([field for field in TABLES[name].schema if field.name not in ("run_id", "unit")])
    return pa.Table.from_pylist(rows, schema=schema)


def write_run(store: Store, run_id: str, night: str | None, status: str, started_at: str) -> None:
    """One row of `runs`."""
    row = dict.fromkeys(TABLES["runs"].schema.names) | {
        "run_id": run_id,
        "started_at": started_at,
        "status": status,
        "config_json": json.dumps({"night": night}),
    }
    del row["unit"]
    names = {name: pa.string() for name in row}
    store.write(
        "runs", pa.Table.from_pylist([row], schema=pa.schema(names.items())), run_id, {}, run_id=run_id
    )


def write_scores(
    store: Store,
    run_id: str,
    night: str,
    values: Values,
    variant: str = "base",
    unit: str = "",
    **changed: Any,
) -> None:
    """Scores and samples of one variant and night, one unit a benchmark and language."""
    for (benchmark, language), scored in values.items():
        common = {
            "model": MODEL,
            "variant": variant,
            "night": night,
            "benchmark": benchmark,
            "language": language,
        }
        metric = "f1" if benchmark == "xquad" else "acc"
        score = dict.fromkeys(TABLES["scores"].schema.names) | {
            **common,
            "kind": "base",
            "n_neurons": 0,
            "metric": metric,
            "filter": "none",
            "primary": True,
            "n": len(scored),
            "n_unscored": 0,
            "value": 0.5,
            "task_version": "1.0",
            "n_shots": 0,
            "backend": "hf",
            "dtype": "float32",
            "bos": True,
            "dataset": "d",
            "revision": "r",
            "data": "hub",
            "settings_json": "{}",
        }
        score = {name: value for name, value in (score | changed).items() if name not in ("run_id", "unit")}
        items = [
            common
            | {
                "task": f"{benchmark}_{language}",
                "item": i,
                "metric": metric,
                "filter": "none",
                "value": value,
            }
            | {"target": "", "response": None, "doc_hash": "d", "prompt_hash": "p", "tokens_hash": "t"}
            for i, value in enumerate(scored)
        ]
        name = unit or f"{night}-{variant}-{benchmark}-{language}"
        where = {"model": MODEL, "variant": variant}
        if items:
            store.write("samples", table("samples", items), name, where, run_id=run_id)
        store.write("scores", table("scores", [score]), name, where, run_id=run_id)


RIGHT: Values = {("xnli", "sw"): [1.0, 1.0]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Nights: mon (ok), tue (regression), wed (failed, then ok; the later run's id sorts first), thu (running)."""
    made = Store(tmp_path / "store")
    runs = [
        ("r1", "mon", "ok"),
        ("r2", "tue", "regression"),
        ("r9", "wed", "failed"),
        ("r4", "wed", "ok"),
        ("r5", "thu", "running"),
    ]
    for i, (run_id, night, status) in enumerate(runs):
        write_run(made, run_id, night, status, f"2026-01-0{i + 1}T00:00:00+00:00")
    write_run(made, "study", None, "finished", "2026-01-01T12:00:00+00:00")
    # Written in another order than they began.
    for run_id, night in (("r5", "thu"), ("r2", "tue"), ("r1", "mon"), ("r4", "wed")):
        write_scores(made, run_id, night, RIGHT)
    return made


def test_nights_are_listed_oldest_first_with_the_status_of_their_latest_run(store: Store) -> None:
    write_scores(store, "lost", "unrecorded", RIGHT)
    found = [(night.label, night.status, night.run_ids) for night in nights(store, MODEL)]
    assert found == [
        ("unrecorded", None, ()),
        ("mon", "ok", ("r1",)),
        ("tue", "regression", ("r2",)),
        ("wed", "ok", ("r9", "r4")),
        ("thu", "running", ("r5",)),
    ]
    assert nights(store, "another model") == []


def test_the_last_good_night_is_the_newest_earlier_one_that_ended_ok(store: Store) -> None:
    def label(before: str) -> str | None:
        night = last_good(store, MODEL, before)
        return None if night is None else night.label

    assert [label(before) for before in ("thu", "wed", "tue", "mon")] == ["wed", "mon", "mon", None]
    # A night that is run again and ends badly is good no longer.
    write_run(store, "r6", "wed", "regression", "2026-01-06T00:00:00+00:00")
    assert label("thu") == "mon"


def test_a_night_is_found_by_label_or_run(store: Store) -> None:
    assert find_night(store, MODEL, "wed") == find_night(store, MODEL, "r9") == find_night(store, MODEL, "r4")
    with pytest.raises(StoreError, match=r"no night or run 'sun'.*mon \(ok\), tue \(regression\)"):
        find_night(store, MODEL, "sun")
    with pytest.raises(StoreError, match="nights are: none"):
        find_night(store, "another model", "mon")


def test_a_broken_configuration_is_named(store: Store) -> None:
    row = store.read("runs").slice(0, 1).drop_columns(["unit"])
    at = row.schema.get_field_index("config_json")
    store.write("runs", row.set_column(at, "config_json", pa.array(["{"])), row["run_id"][0].as_py(), {})
    with pytest.raises(StoreError, match="configuration of run"):
        nights(store, MODEL)


def test_what_was_measured_twice_is_read_from_the_newest_run(store: Store) -> None:
    write_scores(store, "r9", "wed", {("xnli", "sw"): [0.0, 0.0]}, unit="xyz", task_version="0.9")
    write_scores(store, "r4", "wed", RIGHT, variant="edited")
    found = read_night(store, MODEL, "wed", ["base"])
    assert list(found.scores) == [("base", ("xnli", "sw", "acc", "none"))]
    assert found.scores["base", ("xnli", "sw", "acc", "none")]["task_version"] == "1.0"
    assert found.samples_of("base")["value"].to_pylist() == [1.0, 1.0]
    assert len(found.samples_of("edited")) == 0


def test_a_benchmark_without_the_language_is_no_score(store: Store) -> None:
    missing: dict[str, Any] = {
        "metric": "none",
        "value": None,
        "null_reason": "xquad has no sw",
        "data": "none",
    }
    write_scores(store, "r1", "mon", {("xquad", "sw"): []}, **missing)
    found = read_night(store, MODEL, "mon", ["base"])
    assert [key for _, key in found.scores] == [("xnli", "sw", "acc", "none")]
    assert found.unavailable == {("base", "xquad", "sw"): "xquad has no sw"}


OTHERS: dict[str, Any] = {
    "task_version": "2.0",
    "n_shots": 5,
    "max_gen_toks": 64,
    "backend": "vllm",
    "dtype": "bfloat16",
    "bos": False,
    "dataset": "e",
    "revision": None,
    "data": "sample",
    "stand_in": "MMLU",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_differs_is_named_with_both_values(store: Store, name: str) -> None:
    write_scores(store, "r9", "fri", RIGHT, **{name: OTHERS[name]})
    fri, mon = (read_night(store, MODEL, label, ["base"]) for label in ("fri", "mon"))
    with pytest.raises(SettingsMismatch) as raised:
        require_same_settings(fri, mon)
    before = mon.scores["base", ("xnli", "sw", "acc", "none")][name]
    for part in (
        "xnli",
        "sw",
        "base",
        f"{name} = {OTHERS[name]!r} in night fri",
        f"{name} = {before!r} in night mon",
    ):
        assert part in str(raised.value)


def test_equal_settings_pass(store: Store) -> None:
    require_same_settings(*(read_night(store, MODEL, label, ["base"]) for label in ("wed", "mon")))
