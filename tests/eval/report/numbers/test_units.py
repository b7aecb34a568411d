"""A report reads the units that a run lists, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from polyneuron.eval.report.numbers.study import ShownStudy, read_report
from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError
from tests.eval.report.benchmark_rows import add, score
from tests.eval.report.synthetic import SELECTION, Plan, list_units, put, store_with, tables_of
from tests.eval.report.training_rows import perplexities, put_rows, steps

PLAN = Plan(languages=("en", "sw"), n_layers=2, n_draws=1, n_sentences=4)
SELECTED = "tiny/model-a:run-0001:selection"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one study, listed by run-0001."""
    return list_units(store_with(tmp_path, PLAN))


def later_run(store: Store, run_id: str = "run-0002") -> None:
    row = dict.fromkeys(TABLES["runs"].schema.names) | {
        "run_id": run_id,
        "unit": run_id,
        "status": "finished",
    }
    row |= {"started_at": "2026-11-22T00:00:00+00:00"}
    store.write("runs", pa.Table.from_pylist([row], schema=TABLES["runs"].schema), run_id)


def study_of(store: Store, run: str | None = None) -> ShownStudy:
    (study,) = read_report(store, run).studies
    return study


def test_a_store_without_studies_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="polyneuron study"):
        read_report(Store(tmp_path))


def test_a_run_without_a_selection_is_named(store: Store) -> None:
    later_run(store)
    list_units(store, "run-0002", [f"tiny/model-a:run-0001:corpus-{code}" for code in PLAN.languages])
    with pytest.raises(StoreError, match="run-0002"):
        read_report(store, "run-0002")
    assert study_of(store).selection == SELECTION  # the newest run that reached one


def test_what_no_run_lists_is_not_read(store: Store) -> None:
    put_rows(store, "training", steps("shared", "sw", [3.0]))
    add(store, [score("base", "en", 0.5)])
    study = study_of(store)
    assert study.trainings == () and study.rows["scores"] == []


def test_a_run_is_read_alone(tmp_path: Path) -> None:
    store = store_with(
        tmp_path, PLAN, Plan(model="tiny/model-b", languages=("en", "sw"), n_layers=2, n_draws=0)
    )
    mine = {unit for table in tables_of(PLAN).values() for unit in table["unit"].to_pylist()}
    list_units(list_units(store, "run-0001"), "run-0002", mine - {f"{PLAN.model}:run-0001:ppl-shared"})
    assert [s.model for s in read_report(store, "run-0001").studies] == ["tiny/model-a", "tiny/model-b"]
    assert [s.model for s in read_report(store, "run-0002").studies] == ["tiny/model-a"]
    assert study_of(store, "run-0002").variants.named("shared") is None  # nothing is completed


def test_missing_tables_come_from_older_runs_with_the_same_selection(store: Store) -> None:
    trained = put_rows(store, "training", steps("shared", "sw", [3.0]), run_id="run-0002")
    later_run(store)
    list_units(store, "run-0002", [SELECTED, *trained])
    study = study_of(store)
    assert len(study.trainings) == 1 and study.rows["metrics"] and study.variants.base is not None
    assert study_of(store, "run-0002").variants.base is None


def test_an_older_table_gives_way_whole(store: Store) -> None:
    first = add(store, [score("base", "en", 0.1), score("shared", "en", 0.1)])
    list_units(store, "run-0001", [*first, SELECTED])
    later_run(store)
    list_units(store, "run-0002", [SELECTED, *add(store, [score("base", "en", 0.9)], mark="again")])
    assert [(row["variant"], row["value"]) for row in study_of(store).rows["scores"]] == [("base", 0.9)]


def test_perplexities_are_completed_variant_by_variant(store: Store) -> None:
    """Training measures its own variants, so that those of the ablation stay."""
    rows = perplexities(store, "tuned-shared-sw", {"sw": 0.9})
    rows += [
        row | {"variant": "shared", "kind": "shared"}
        for row in perplexities(store, "tuned-shared-sw", {"sw": 2.0})
    ]
    later_run(store)
    list_units(store, "run-0002", [SELECTED, *put_rows(store, "perplexities", rows, run_id="run-0002")])
    variants = study_of(store).variants
    assert {"base", "tuned-shared-sw", "exclusive-en"} <= {v.name for v in variants}
    shared = variants.named("shared")
    assert shared is not None and set(shared.nll) == {"sw"}  # the newer measurement, in Swahili alone


def test_older_runs_with_another_selection_complete_nothing(store: Store) -> None:
    newer = tables_of(PLAN)["selections"].to_pylist()[0]
    newer |= {"selection": "quantile", "unit": "other", "run_id": "run-0002"}
    put(store, "selections", pa.Table.from_pylist([newer]))
    later_run(store)
    list_units(store, "run-0002", ["other", "tiny/model-a:run-0001:impacts-en"])
    study = study_of(store)
    assert (study.selection, study.other_selections) == ("quantile", (SELECTION,))
    assert study.rows["metrics"] == [] and study.sets.total("shared") == 0 and study.languages == ("en",)
