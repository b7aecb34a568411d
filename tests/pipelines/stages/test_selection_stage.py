"""Detection and selection together: the floor rises until the sets are proved, and only as often as needed."""

from pathlib import Path

import pytest

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.selection.rules import Quantile
from polyneuron.neuron_core.selection.select import select
from polyneuron.pipelines.config.study import StudyConfig
from polyneuron.pipelines.stages.corpora import prepare_corpora
from polyneuron.pipelines.stages.selection import Selected, detect_and_select, floor_fractions
from tests.pipelines.in_process import InProcess, tiny_config, tiny_subject
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def selected(config: StudyConfig, model: Path) -> tuple[Selected, InProcess, Store]:
    store = Store(config.store)
    subject, group = tiny_subject(config, model)
    with subject, store.lock():
        prepare_corpora(subject, store, "run")
        return detect_and_select(subject, store, "run"), group, store


def test_the_floor_rises_until_the_sets_are_those_of_full_measurement(model: Path, tmp_path: Path) -> None:
    """The top half of each group cannot be proved by a floor at its top tenth."""
    rule = {"rule": "quantile", "fraction": 0.5}
    found, _, store = selected(
        tiny_config(model, tmp_path / "a", selection=rule, detection={"floor_fraction": 0.1}), model
    )
    full, _, _ = selected(
        tiny_config(model, tmp_path / "b", selection=rule, detection={"mode": "full"}), model
    )
    assert found.selection.related == full.selection.related
    assert len(set(store.read("detections")["unit"].to_pylist())) > 2, "detected once more"


def test_a_share_below_one_is_measured_in_full_at_once(model: Path, tmp_path: Path) -> None:
    config = tiny_config(
        model, tmp_path / "store", selection={"rule": "quantile", "fraction": 0.1, "share": 0.8}
    )
    assert list(floor_fractions(config)) == [1.0]
    found, group, store = selected(config, model)
    assert group.n_passes == 2 * 2, "seed and rest of two languages"
    own = select(store.read("impacts"), store.read("detections"), Quantile(0.1, True, 0.8), ["en", "sw"])
    assert own.related == found.selection.related


def test_the_second_run_measures_nothing(model: Path, tmp_path: Path) -> None:
    config = tiny_config(model, tmp_path / "store", selection={"target_shared": 0.02})
    first, _, _ = selected(config, model)
    again, group, _ = selected(config, model)
    assert group.n_passes == 0
    assert again.unit == first.unit and again.selection.related == first.selection.related


@pytest.mark.parametrize(
    ("floor_fraction", "expected"), [(0.3, [0.3, 0.6, 1.0]), (0.25, [0.25, 0.5, 1.0]), (1.0, [1.0])]
)
def test_floors_double_up_to_all_neurons(
    model: Path, tmp_path: Path, floor_fraction: float, expected: list[float]
) -> None:
    config = tiny_config(model, tmp_path, detection={"floor_fraction": floor_fraction})
    assert list(floor_fractions(config)) == expected
