"""What a store of many units does for one of them: counted in files, not in seconds."""

from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.store.files import LocalFiles
from polyneuron.eval.store.query import query
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError

MODEL = {"model": "org/model"}


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The Parquet files whose bytes were read."""
    files: list[str] = []
    read_bytes = LocalFiles.read_bytes

    def counted(self: LocalFiles, path: str) -> bytes | None:
        if path.endswith(".parquet"):
            files.append(path)
        return read_bytes(self, path)

    monkeypatch.setattr(LocalFiles, "read_bytes", counted)
    monkeypatch.setattr(LocalFiles, "_sync", lambda self, path: None)
    return files


def filled(folder: Path, n: int) -> Store:
    store = Store(folder)
    for number in range(n):
        row: dict[str, Any] = {"rule_json": "{}", "thresholds_json": "{}", "n_neurons": number}
        store.write("selections", [{"selection": str(number), **row}], f"unit-{number}", MODEL, run_id="run")
    return store


@pytest.mark.parametrize("n", [8, 64])
def test_a_unit_costs_the_same_however_many_there_are(tmp_path: Path, read_files: list[str], n: int) -> None:
    filled(tmp_path / "store", n)
    store = Store(tmp_path / "store")
    rows = store.read("selections", [("model", "=", "org/model"), ("unit", "in", ["unit-3", "unit-5"])])
    assert rows["n_neurons"].to_pylist() == [3, 5] and len(read_files) == 2
    assert store.read("selections", [("unit", "=", "unit-7")])["n_neurons"].to_pylist() == [7]
    assert store.read("selections", [("unit", "in", [])]).num_rows == 0
    assert store.read("selections", [("unit", "=", "unit-7"), ("unit", "in", ["unit-1"])]).num_rows == 0
    assert len(read_files) == 3


@pytest.mark.parametrize("n", [8, 64])
def test_a_store_is_opened_with_one_look_at_each_file(tmp_path: Path, read_files: list[str], n: int) -> None:
    filled(tmp_path / "store", n)
    store = Store(tmp_path / "store")
    with store.lock():
        assert store.read("selections").num_rows == n
    assert len(read_files) == n == len(set(read_files))


def test_a_query_looks_at_the_tables_that_it_names(tmp_path: Path, read_files: list[str]) -> None:
    filled(tmp_path / "store", 8)
    store = Store(tmp_path / "store")
    assert query(store, "select count(*) from metrics")[1] == [(0,)] and not read_files
    assert query(store, "select count(*) from query_table('select' || 'ions')")[1] == [(8,)]
    assert query(store, 'select count(*) from "SELECTIONS"')[1] == [(8,)] and len(read_files) == 8


def test_a_file_under_the_name_of_another_unit_is_refused(tmp_path: Path) -> None:
    store = filled(tmp_path / "store", 2)
    own, other = (next((tmp_path / "store").rglob(f"unit-{number}.parquet")) for number in (0, 1))
    other.write_bytes(own.read_bytes())
    with pytest.raises(StoreError, match="unit-0"):
        store.read("selections", [("unit", "=", "unit-1")])
