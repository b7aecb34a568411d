"""What is read from a real store on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from polyneuron.eval.report.numbers.study import newest_only, read_report
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError
from tests.eval.report.synthetic import SELECTION, Plan, put, store_with, tables_of


def test_counts_agree_with_the_sets(tmp_path: Path) -> None:
    plan = Plan(languages=("en", "sw", "de"))
    study = read_report(store_with(tmp_path, plan)).studies[0]
    sets = tables_of(plan)["neuron_sets"].to_pylist()
    assert study.anatomy.n_neurons == 4 * (32 + 16 + 16 + 64)
    assert study.anatomy.groups == ("q", "k", "v", "ffn")
    for kind, lang in (("shared", None), ("exclusive", "sw"), ("related", "de")):
        wanted = [r for r in sets if r["kind"] == kind and r["language"] == lang]
        assert study.sets.total(kind, lang or "") == len(wanted) > 0
    members = {
        lang: {
            (r["layer"], r["group"], r["neuron"])
            for r in sets
            if r["kind"] == "related" and r["language"] == lang
        }
        for lang in study.languages
    }
    assert study.languages == ("en", "sw", "de")
    assert study.sets.jaccard[0, 1] == pytest.approx(
        len(members["en"] & members["sw"]) / len(members["en"] | members["sw"])
    )
    assert sum(study.sets.in_exactly) == len(members["en"] | members["sw"] | members["de"])
    assert study.sets.in_exactly[-1] == study.sets.total("shared")


def test_slider_starts_at_the_stored_sets(tmp_path: Path) -> None:
    study = read_report(store_with(tmp_path, Plan())).studies[0]
    assert study.curves is not None and study.curves_missing is None
    at = study.curves.study_index
    for i, lang in enumerate(study.curves.languages):
        assert (
            study.curves.related[:, i, at].tolist() == study.sets.counts["related", lang].sum(axis=1).tolist()
        )
        assert study.curves.strict[:, i, at].sum() == study.sets.total("strict_exclusive", lang)


def test_impacts_that_contradict_the_sets_give_no_slider(tmp_path: Path) -> None:
    tables = tables_of(Plan())
    halved = pa.array(np.asarray(tables["impacts"]["impact_rms_min"]) * np.float32(0.5))
    index = tables["impacts"].schema.get_field_index("impact_rms_min")
    tables["impacts"] = tables["impacts"].set_column(index, "impact_rms_min", halved)
    store = Store(tmp_path)
    for name, table in tables.items():
        put(store, name, table)
    study = read_report(store).studies[0]
    assert study.curves is None
    assert "do not give the stored sets back" in (study.curves_missing or "")


def test_the_newest_run_of_a_measurement_is_used() -> None:
    rows = pa.table(
        {
            "language": ["en", "en", "th"],
            "run_id": ["r1", "r2", "r1"],
            "unit": ["a", "b", "c"],
            "value": [1, 2, 3],
        }
    )
    kept, dropped = newest_only(rows, ("language",), (), {"r1": 0, "r2": 1})
    assert (kept["value"].to_pylist(), dropped) == ([2, 3], 1)


def test_shards_of_a_measurement_stay_and_repeats_go() -> None:
    rows = pa.table(
        {
            "language": ["en"] * 5,
            "sentence": [0, 1, 2, 3, 0],
            "run_id": ["r1", "r1", "r2", "r2", "r2"],
            "unit": ["shard-0", "shard-0", "shard-1", "shard-1", "redone-0"],
        }
    )
    kept, dropped = newest_only(rows, ("language",), ("sentence",), {"r1": 0, "r2": 1})
    assert (kept["unit"].to_pylist(), dropped) == (["shard-1", "shard-1", "redone-0"], 1)


def test_only_the_named_units_are_read(tmp_path: Path) -> None:
    mine = {unit for table in tables_of(Plan()).values() for unit in table["unit"].to_pylist()}
    store = store_with(tmp_path, Plan(), Plan(model="tiny/model-b"))
    assert [s.model for s in read_report(store).studies] == ["tiny/model-a", "tiny/model-b"]
    assert [s.model for s in read_report(store, mine).studies] == ["tiny/model-a"]


def test_null_keys_are_compared_as_values() -> None:
    rows = pa.table(
        {"language": pa.array([None, None, "th"]), "run_id": ["r1", "r2", "r1"], "unit": ["a", "b", "c"]}
    )
    kept, dropped = newest_only(rows, ("language",), (), {"r1": 0, "r2": 1})
    assert (kept["unit"].to_pylist(), dropped) == (["b", "c"], 1)


def test_controls_are_no_sets_of_a_language(tmp_path: Path) -> None:
    store = store_with(tmp_path, Plan(languages=("en", "sw")))
    before = read_report(store).studies[0]
    extra = tables_of(Plan(languages=("en", "sw")))["neuron_sets"].slice(0, 1).to_pylist()[0]
    put(
        store,
        "neuron_sets",
        pa.Table.from_pylist([extra | {"kind": "control", "seed": 0, "unit": "c", "neuron": 5}]),
    )
    assert read_report(store).studies[0].sets.in_exactly == before.sets.in_exactly


def test_an_empty_store_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="polyneuron study"):
        read_report(Store(tmp_path))


def test_only_the_newest_selection_is_shown(tmp_path: Path) -> None:
    store = store_with(tmp_path, Plan())
    newer = tables_of(Plan(run_id="run-0002"))["selections"].to_pylist()[0] | {"selection": "quantile"}
    put(store, "selections", pa.Table.from_pylist([newer]))
    run = tables_of(Plan(run_id="run-0002"))["runs"].to_pylist()[0] | {
        "started_at": "2026-11-22T00:00:00+00:00"
    }
    put(store, "runs", pa.Table.from_pylist([run]))
    study = read_report(store).studies[0]
    assert (study.selection, study.other_selections) == ("quantile", (SELECTION,))
    assert study.sets.total("shared") == 0
