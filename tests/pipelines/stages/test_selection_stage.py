"""Detection and selection together: the floor rises until the sets are proved, and only as often as needed."""

from pathlib import Path

import pytest

from polyneuron.neuron_core.selection.rules import Quantile
from polyneuron.neuron_core.selection.select import select
from polyneuron.pipelines.config.study import StudyConfig
from polyneuron.pipelines.stages.detection import with_lower_floors
from tests.pipelines.in_process import TinyStudy, tiny_config
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def selected(config: StudyConfig, model: Path) -> TinyStudy:
    with TinyStudy(config, model) as study:
        return study.do("corpora", "detection")


def floors(config: StudyConfig) -> list[float]:
    return [each.floor_fraction for each in with_lower_floors(config.detection, config.selection)]


def test_the_floor_rises_until_the_sets_are_those_of_full_measurement(model: Path, tmp_path: Path) -> None:
    """The top half of each group cannot be proved by a floor at its top tenth."""
    rule = {"rule": "quantile", "fraction": 0.5}
    found = selected(
        tiny_config(model, tmp_path / "a", selection=rule, detection={"floor_fraction": 0.1}), model
    )
    full = selected(tiny_config(model, tmp_path / "b", selection=rule, detection={"mode": "full"}), model)
    assert found.selected.selection.related == full.selected.selection.related
    detections = set(found.store.read("detections")["unit"].to_pylist())
    assert len(detections) > 2, "detected once more"
    listed = {unit for table, unit in found.listed() if table == "detections"}
    assert len(listed) == 2 and listed < detections, "those of the last floor"


def test_a_share_below_one_is_measured_in_full_at_once(model: Path, tmp_path: Path) -> None:
    config = tiny_config(
        model, tmp_path / "store", selection={"rule": "quantile", "fraction": 0.1, "share": 0.8}
    )
    assert floors(config) == [1.0]
    found = selected(config, model)
    assert found.group.n_passes == 2 * 2, "seed and rest of two languages"
    impacts, detections = found.store.read("impacts"), found.store.read("detections")
    own = select(impacts, detections, Quantile(0.1, True, 0.8), ["en", "sw"])
    assert own.related == found.selected.selection.related


def test_the_second_run_measures_nothing(model: Path, tmp_path: Path) -> None:
    config = tiny_config(model, tmp_path / "store", selection={"target_shared": 0.02})
    first, again = selected(config, model), selected(config, model)
    assert again.group.n_passes == 0 and again.selected.unit == first.selected.unit
    assert again.selected.selection.related == first.selected.selection.related


@pytest.mark.parametrize(
    ("floor_fraction", "expected"), [(0.3, [0.3, 0.6, 1.0]), (0.25, [0.25, 0.5, 1.0]), (1.0, [1.0])]
)
def test_floors_double_up_to_all_neurons(
    model: Path, tmp_path: Path, floor_fraction: float, expected: list[float]
) -> None:
    config = tiny_config(model, tmp_path, detection={"floor_fraction": floor_fraction})
    assert floors(config) == expected
