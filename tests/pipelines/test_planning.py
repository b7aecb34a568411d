"""The plan against the model it speaks of: exact counts, and units that are done."""

from pathlib import Path

import pytest

from eval.store import Store
from neuron_core.models import load_model
from pipelines.config import StudyConfig
from pipelines.planning import ModelPlan, plan
from pipelines.runs import Run
from pipelines.stages.corpora import prepare_corpora
from pipelines.stages.detection import detect, detection_units
from tests.pipelines.in_process import tiny_config, tiny_subject
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def planned(config: StudyConfig) -> ModelPlan:
    """The plan of its only model, for this machine."""
    (row,) = plan(config).models
    return row


def test_parameters_and_neurons_are_those_of_the_model(model: Path, tmp_path: Path) -> None:
    row = planned(tiny_config(model, tmp_path / "store", cluster={"world_size": 2}))
    live, _ = load_model(model)
    assert row.shape is not None
    assert row.shape.parameters == sum(p.numel() for p in live.parameters())
    assert row.neurons == {"q": 3 * 32, "k": 3 * 16, "v": 3 * 16, "ffn": 3 * 40}
    assert row.stages[0].peak.host["shard"] == row.shape.parameters * 4 // 2
    assert row.units["perplexity"]["to_do_at_most"] == 2 + 2 + 5 + 2 * 3


def test_trainings_and_benchmarks_are_counted(model: Path, tmp_path: Path) -> None:
    row = planned(
        tiny_config(
            model,
            tmp_path / "store",
            training={
                "languages": ["sw", ["en", "sw"]],
                "strategies": ["shared", "random"],
                "seeds": [0, 1, 2],
            },
            evaluation={
                "benchmarks": [{"name": "xnli"}, {"name": "mmmlu"}],
                "languages": ["sw"],
                "variants": ["exclusive-*"],
            },
        )
    )
    assert row.units["training"] == {"to_do_at_most": 2 * 2 * 3}
    assert row.units["benchmarks"] == {"to_do_at_most": (1 + 2 + 12) * 2 * 1}
    assert row.units["perplexity"]["to_do_at_most"] == 2 + 2 + 5 + 2 * 3 + 12


def test_activations_and_detected_sets_are_counted(model: Path, tmp_path: Path) -> None:
    without = planned(tiny_config(model, tmp_path / "store"))
    activations = {"detectors": ["lape", "act_prob"], "sites": ["matched", "pre_activation"], "controls": 2}
    row = planned(tiny_config(model, tmp_path / "store", activations=activations))
    assert row.units["activations"] == {"to_do_at_most": 2}
    assert row.units["perplexity_of_detected_sets"] == {"to_do_at_most": 2 * 2 * (1 + 2)}
    assert row.units.items() > without.units.items()
    # the hidden states of both languages wait at once
    activations = next(one for one in row.stages if one.stage.name == "activations")
    assert activations.peak.host["hidden states"] == 2 * 6 * 12 * 32 * 4


def test_a_model_that_is_not_there_is_a_row_with_its_error(tmp_path: Path) -> None:
    row = planned(tiny_config(Path("/nowhere/at/all"), tmp_path / "store"))
    assert row.error is not None and "No model at /nowhere/at/all" in row.error


def test_units_in_the_store_are_done(model: Path, tmp_path: Path) -> None:
    """One of two languages measured, without any worker: its pass is run here."""
    study = tiny_config(model, tmp_path / "store")
    store = Store(study.store)
    subject, _ = tiny_subject(study, model)
    with subject, store.lock():
        run = Run(store, study)
        prepare_corpora(subject, store, run.id)
        del subject.detection["sw"]
        detect(subject, store, run.id, study.detection.floor_fraction)
        assert list(detection_units(subject, study.detection.floor_fraction)) == ["en"]
    row = planned(study)
    assert row.units["detection"] == {"done": 1, "to_do": 1}
