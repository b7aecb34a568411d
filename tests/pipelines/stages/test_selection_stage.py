"""Detection and selection together: the floor falls until the sets and their neighbours are proved, and only what is missing is
measured."""

from pathlib import Path
from typing import Any

import pytest

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.selection.rules import Quantile, Rule, ScaledSigma
from polyneuron.neuron_core.selection.select import select
from polyneuron.neuron_core.selection.sensitivity import FACTORS, sensitivity
from polyneuron.pipelines.config.study import SelectionConfig, StudyConfig
from polyneuron.pipelines.stages.detection import (
    Route,
    detect_and_select,
    detection_units,
    first_route,
    lower_floors,
)
from tests.pipelines.in_process import TinyStudy, tiny_config
from tests.tiny_models import save_tiny_model

SCALED = {"target_shared": 0.1}
"""A default rule that a floor at the top half of q and k proves for this model, and its looser neighbours not."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def selected(config: StudyConfig, model: Path) -> TinyStudy:
    with TinyStudy(config, model) as study:
        return study.do("corpora", "detection")


def scaled_config(model: Path, store: Path, **detection: Any) -> StudyConfig:
    return floored_config(model, store, SCALED, floor_fraction=0.5, **detection)


def floored_config(model: Path, store: Path, rule: dict[str, Any], **detection: Any) -> StudyConfig:
    """A study that keeps to the mode it is given: no noise floor asks for every impact."""
    return tiny_config(model, store, selection=rule, detection={"noise_floor": "off"} | detection)


def listed_units(study: TinyStudy) -> set[str]:
    return {unit for table, unit in study.listed() if table == "detections"}


def neighbours_of_first_floor(study: TinyStudy, rule: Rule) -> dict[str, str | None]:
    """Of each neighbour of a rule, why the floor that was detected with does not prove it."""
    units = detection_units(study.workers.model, study.sentences, study.config.detection).values()
    tables = (study.ledger.read(table, units) for table in ("impacts", "detections"))
    rows = sensitivity(*tables, rule, model=study.ledger.model).to_pylist()
    return {row["neighbour"]: row["null_reason"] for row in rows if row["n_related"] is None}


def test_the_floor_falls_until_the_neighbours_are_those_of_full_measurement(
    model: Path, tmp_path: Path
) -> None:
    found = selected(scaled_config(model, tmp_path / "a"), model)
    full = selected(scaled_config(model, tmp_path / "b", mode="full"), model)
    assert found.selected.selection.related == full.selected.selection.related
    before = neighbours_of_first_floor(found, ScaledSigma(target_shared=0.1))
    assert before.keys() == {"sigma x0.5", "sigma x0.71"} and all(
        "floor" in why for why in before.values() if why
    )
    band, of_full = (
        [
            {name: value for name, value in row.items() if name not in ("run_id", "unit", "selection")}
            for row in study.store.read("sensitivity").to_pylist()
        ]
        for study in (found, full)
    )
    assert len(band) == 2 * (1 + len(FACTORS)) and all(row["n_related"] is not None for row in band)
    for row, other in zip(band, of_full, strict=True):
        assert row == other | {"sigma": pytest.approx(other["sigma"], rel=1e-5)}
    assert found.group.n_passes == 2 * 2 + 2, "seed and rest of two languages, and what the floor left out"
    units = listed_units(found)
    assert len(units) == 2 and units < set(found.store.read("detections")["unit"].to_pylist())


def test_a_rule_far_below_the_floor_is_proved_too(model: Path, tmp_path: Path) -> None:
    """The top half of each group cannot be proved by a floor at its top tenth, nor its double, all neurons, by less than all."""
    rule = {"rule": "quantile", "fraction": 0.5}
    found = selected(floored_config(model, tmp_path / "a", rule, floor_fraction=0.1), model)
    full = selected(floored_config(model, tmp_path / "b", rule, mode="full"), model)
    assert found.selected.selection.related == full.selected.selection.related
    assert not any(found.ledger.read("impacts", listed_units(found), ["bounded"])["bounded"].to_pylist())


def test_a_neighbour_that_cannot_exist_asks_for_no_floor(model: Path, tmp_path: Path) -> None:
    rule, groups = {"rule": "quantile", "fraction": 0.8}, ["q", "k", "ffn"]
    config = floored_config(model, tmp_path, rule, floor_fraction=0.95, groups=groups)
    found = selected(config, model)
    nulls = {
        row["neighbour"] for row in found.store.read("sensitivity").to_pylist() if row["n_related"] is None
    }
    assert nulls == {"fraction x1.41", "fraction x2"}


def test_an_interrupted_lowering_goes_on(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, whole = (
        scaled_config(model, tmp_path / "a"),
        selected(scaled_config(model, tmp_path / "b"), model),
    )
    with TinyStudy(config, model) as study:
        run = study.group.run

        def killed(function: Any, *rest: Any, **kwargs: Any) -> list[Any]:
            if study.group.n_passes == 2 * 2 + 1:
                raise KeyboardInterrupt
            return run(function, *rest, **kwargs)

        monkeypatch.setattr(study.group, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            study.do("corpora", "detection")
    again = selected(config, model)
    assert again.group.n_passes == 1, "the second language"
    units = listed_units(again)
    assert units == listed_units(whole) and again.selected.unit == whole.selected.unit
    found, expected = (each.ledger.read("impacts", units).drop(["run_id"]) for each in (again, whole))
    assert found.equals(expected)


def test_a_rule_that_no_floor_proves_asks_for_full_measurement_at_once(model: Path, tmp_path: Path) -> None:
    """A study is refused before it starts; the stage says the same."""
    config, ranked = floored_config(model, tmp_path, {}), SelectionConfig(rule="top_ratio")
    with TinyStudy(config, model) as study:
        study.do("corpora")
        with pytest.raises(SetError, match=r"needs the rank of every neuron.*Set detection\.mode=full"):
            detect_and_select(
                study.ledger,
                study.sentences,
                study.workers,
                detection=config.detection,
                selection=ranked,
                n_controls=config.ablation.n_controls,
            )
        assert study.group.n_passes == 2 * 2, "seed and rest of two languages"


def test_a_share_below_one_is_measured_in_full_at_once(model: Path, tmp_path: Path) -> None:
    config = floored_config(model, tmp_path / "store", {"rule": "quantile", "fraction": 0.1, "share": 0.8})
    assert first_route(config.detection, config.selection) == (1.0,)
    found = selected(config, model)
    assert found.group.n_passes == 2 * 2, "seed and rest of two languages"
    impacts, detections = found.store.read("impacts"), found.store.read("detections")
    own = select(impacts, detections, Quantile(0.1, True, 0.8), ["en", "sw"])
    assert own.related == found.selected.selection.related


def test_the_second_run_measures_nothing(model: Path, tmp_path: Path) -> None:
    first, again = (selected(scaled_config(model, tmp_path), model) for _ in range(2))
    assert again.group.n_passes == 0 and again.selected.unit == first.selected.unit
    assert again.selected.selection.related == first.selected.selection.related
    assert listed_units(again) == listed_units(first)


@pytest.mark.parametrize(
    ("route", "expected"),
    [((0.3,), [(0.3, 0.6), (0.3, 1.0)]), ((0.1, 0.25), [(0.1, 0.25, 0.5), (0.1, 0.25, 1.0)]), ((1.0,), [])],
)
def test_floors_double_up_to_all_neurons(route: Route, expected: list[Route]) -> None:
    assert list(lower_floors(route)) == expected
