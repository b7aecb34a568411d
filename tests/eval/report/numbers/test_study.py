"""What is read from a real store on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from polyneuron.eval.report.numbers.curves import STUDY, Curves
from polyneuron.eval.store.store import Store
from tests.eval.report.synthetic import Plan, put, store_with, studied, tables_of


def test_counts_agree_with_the_sets(tmp_path: Path) -> None:
    plan = Plan(languages=("en", "sw", "de"))
    study = studied(store_with(tmp_path, plan)).studies[0]
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
    study = studied(store_with(tmp_path, Plan())).studies[0]
    assert isinstance(study.curves, Curves)
    at = STUDY
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
    study = studied(store).studies[0]
    assert isinstance(study.curves, str)


def test_controls_are_no_sets_of_a_language(tmp_path: Path) -> None:
    store = store_with(tmp_path, Plan(languages=("en", "sw")))
    before = studied(store).studies[0]
    extra = tables_of(Plan(languages=("en", "sw")))["neuron_sets"].slice(0, 1).to_pylist()[0]
    put(
        store,
        "neuron_sets",
        pa.Table.from_pylist([extra | {"kind": "control", "seed": 0, "unit": "c", "neuron": 5}]),
    )
    assert studied(store).studies[0].sets.in_exactly == before.sets.in_exactly
