"""The plan against the model it speaks of: exact counts, and units that are done."""

from pathlib import Path

import pytest

from eval.store import Store
from neuron_core.models import load_model
from pipelines.config import StudyConfig
from pipelines.planning import plan
from pipelines.runs import Run
from pipelines.stages.corpora import prepare_corpora
from pipelines.stages.detection import detect, detection_units
from pipelines.subject import Subject
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def config(model: Path, store: Path, **sections: object) -> StudyConfig:
    values = {
        "models": [{"path": str(model), "name": "tiny"}],
        "languages": ["en", "sw"],
        "corpus": {"n_detection": 6, "n_heldout": 3, "max_tokens": 12},
        "store": str(store),
        **sections,
    }
    return StudyConfig.model_validate(values)


def test_parameters_and_neurons_are_those_of_the_model(model: Path, tmp_path: Path) -> None:
    (row,) = plan(config(model, tmp_path / "store", cluster={"world_size": 2}))
    live, _ = load_model(model)
    assert row["parameters"] == sum(p.numel() for p in live.parameters())
    assert row["neurons"] == {"q": 3 * 32, "k": 3 * 16, "v": 3 * 16, "ffn": 3 * 40}
    assert row["memory_per_worker_bytes"]["shard"] == row["parameters"] * 4 // 2
    assert row["units"]["perplexity"]["to_do_at_most"] == 2 + 2 + 5 + 2 * 3


def test_a_model_that_is_not_there_is_a_row_with_its_error(tmp_path: Path) -> None:
    (row,) = plan(config(Path("/nowhere/at/all"), tmp_path / "store"))
    assert "No model at /nowhere/at/all" in row["error"]


def test_units_in_the_store_are_done(model: Path, tmp_path: Path) -> None:
    """One of two languages measured, without any worker: its pass is run here."""
    study = config(model, tmp_path / "store")
    store = Store(study.store)
    with Subject.open(study, study.models[0]) as subject, store.lock():
        run = Run(store, study)
        prepare_corpora(subject, store, run.id)
        subject._group = _InProcess(model)
        del subject.detection["sw"]
        detect(subject, store, run.id, study.detection.floor_fraction)
        assert list(detection_units(subject, study.detection.floor_fraction)) == ["en"]
    (row,) = plan(study)
    assert row["units"]["detection"] == {"done": 1, "to_do": 1}


class _InProcess:
    """One process in place of a worker group: the same passes over the same micro-batches."""

    def __init__(self, model: Path) -> None:
        from neuron_core.layer_major import LayerMajor

        self.runner = LayerMajor(load_model(model)[0])

    def run(self, function, batches, progress=None, **kwargs):  # type: ignore[no-untyped-def]
        return [function(self.runner, batches, progress=progress, **kwargs)]
