"""The configuration that a store keeps: read by whoever has the store, who may not be whoever ran it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.pipelines.run.stored_study import stored_study
from tests.eval.report.synthetic import Plan, store_with

STUDY = {
    "kind": "study",
    "models": [{"path": "theirs/model", "trust_remote_code": True, "dtype": "bfloat16"}],
}


def kept(folder: Path) -> Store:
    store = store_with(folder, Plan(languages=("en", "sw"), n_draws=1))
    (row,) = store.read("runs").drop_columns(["run_id", "unit"]).to_pylist()
    later = row | {"started_at": "2099-01-01T00:00:00+00:00", "config_json": json.dumps(STUDY)}
    store.write("runs", [later | {"run_id": "run-later"}], "run-later", run_id="run-later")
    return store


def test_the_code_of_somebody_elses_model_is_not_trusted(tmp_path: Path) -> None:
    kept(tmp_path / "theirs")
    (model,) = stored_study(str(tmp_path / "theirs")).models
    assert (model.path, model.dtype, model.trust_remote_code) == ("theirs/model", "bfloat16", False)


def test_a_store_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"There is no store in .*absent"):
        stored_study(str(tmp_path / "absent"))
