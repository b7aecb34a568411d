"""The ledger: what it keeps, what it lists for the report, and that another model's rows stay out of sight."""

from pathlib import Path

import pytest

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.pipelines.run.ledger import Ledger

ROW = {"selection": "s", "metric": "m", "language": None, "value": 1.0, "low": None, "high": None}
ROW |= {"null_reason": None, "n_bootstrap": 7, "seed": 0}


def listed(store: Store) -> list[tuple[str, str, str, str]]:
    rows = store.read("studies").to_pylist()
    return [(row["run_id"], row["model"], row["table"], row["unit"]) for row in rows]


def test_rows_are_kept_once_and_read_back_by_unit_and_column(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ledger, other = Ledger(store, "tiny", "run"), Ledger(store, "other", "run")
    assert ledger.missing("metrics", ["a", "b"]) == {"a", "b"} and not ledger.done("metrics", "a")
    ledger.put("metrics", "a", [ROW, ROW | {"language": "sw"}], selection="s")
    other.put("metrics", "b", [ROW], selection="s")
    assert ledger.missing("metrics", ["a", "c"]) == {"c"}
    assert ledger.read("metrics", ["a", "b"], ["language"])["language"].to_pylist() == [None, "sw"]
    assert ledger.read("metrics", language="sw").num_rows == 1
    (row,) = other.read("metrics").to_pylist()
    assert (row["run_id"], row["unit"], row["model"], row["value"]) == ("run", "b", "other", 1.0)


def test_what_was_written_or_found_done_is_listed_stage_by_stage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = Ledger(store, "tiny", "1")
    first.put("metrics", "a", [ROW], selection="s")
    assert listed(store) == []
    first.close_stage()
    first.close_stage()
    assert listed(store) == [("1", "tiny", "metrics", "a")]
    second = Ledger(store, "tiny", "2")
    assert second.missing("metrics", ["a", "b"]) == {"b"}
    second.close_stage()
    second.put("metrics", "b", [ROW], selection="s")
    second.put("metrics", "c", [ROW], selection="s")
    second.dismiss("metrics", ["c"])
    second.close_stage()
    assert listed(store)[1:] == [("2", "tiny", "metrics", "a"), ("2", "tiny", "metrics", "b")]


def test_two_ledgers_of_a_run_keep_each_others_lists(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for unit in ("a", "b", "b"):
        ledger = Ledger(store, "tiny", "1")
        ledger.put("metrics", unit, [ROW], selection="s")
        ledger.close_stage()
    assert sorted(listed(store)) == [("1", "tiny", "metrics", "a"), ("1", "tiny", "metrics", "b")]


def test_a_unit_is_listed_by_the_table_that_is_written_last(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ledger = Ledger(store, "tiny", "1")
    step = {"variant": "v", "step": 0, "language": "en", "nll_nats": 1.0, "n_tokens": 2, "kept": True}
    ledger.put("validations", "a", [step])
    ledger.close_stage()
    assert listed(store) == []


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    ledger = Ledger(Store(tmp_path), "tiny", "1")
    with pytest.raises(StoreError, match="colour"):
        ledger.put("metrics", "a", [ROW | {"colour": "red"}], selection="s")
    with pytest.raises(StoreError, match="value"):
        ledger.put("metrics", "a", [{k: v for k, v in ROW.items() if k != "value"}], selection="s")
