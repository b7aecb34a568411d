"""What a plan counts: parameters, neurons and units of work, and which of them the store has done."""

from pathlib import Path

import pytest

from polyneuron.neuron_core.model.load import load_model
from polyneuron.pipelines.config.study import SelectionConfig
from polyneuron.pipelines.plan.units import n_trainings
from polyneuron.pipelines.stages.corpora import Sentences
from polyneuron.pipelines.stages.detection import detect
from tests.pipelines.in_process import TinyStudy, tiny_config
from tests.pipelines.plan.cases import planned


def test_parameters_and_neurons_are_those_of_the_model(model: Path, tmp_path: Path) -> None:
    row = planned(tiny_config(model, tmp_path / "store", cluster={"world_size": 2}))
    live, _ = load_model(model)
    assert row.shape is not None
    assert row.shape.parameters == sum(p.numel() for p in live.parameters())
    assert row.neurons == {"q": 3 * 32, "k": 3 * 16, "v": 3 * 16, "ffn": 3 * 40}
    assert row.stages[0].stage.peak.host["shard"] == row.shape.parameters * 4 // 2
    # base and shared, two kinds of sets, two kinds of controls of the shared one and three of each language's
    assert row.units["perplexity"]["to_do_at_most"] == 2 + 2 * 2 + 2 * 1 + 2 * 2 * 3 * 1


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
    assert row.units["training"] == {"done": 0, "to_do_at_most": 2 * 2 * 3}
    assert row.units["benchmarks"] == {"done": 0, "to_do_at_most": (1 + 2 + 12) * 2 * 1}
    assert row.units["perplexity"]["to_do_at_most"] == 2 + 2 * 2 + 2 * 1 + 2 * 2 * 3 * 1 + 12


@pytest.mark.parametrize(
    ("strategies", "n"),
    [(["shared", "full"], 2), (["random"], 1), (["random", "lora"], 2), (["auto", "exclusive", "random"], 4)],
)
def test_random_is_trained_once_for_each_set(strategies: list[str], n: int, tmp_path: Path) -> None:
    training = {"languages": ["sw"], "strategies": strategies}
    assert n_trainings(tiny_config(tmp_path, tmp_path / "store", training=training)) == n


def test_activations_and_detected_sets_are_counted(model: Path, tmp_path: Path) -> None:
    without = planned(tiny_config(model, tmp_path / "store"))
    activations = {"detectors": ["lape", "act_prob"], "sites": ["matched", "pre_activation"], "controls": 2}
    row = planned(tiny_config(model, tmp_path / "store", activations=activations))
    assert row.units["activations"] == {"done": 0, "to_do_at_most": 2}
    assert row.units["perplexity_of_detected_sets"] == {"done": 0, "to_do_at_most": 2 * 2 * (1 + 2)}
    assert row.units.items() > without.units.items()
    # the hidden states of both languages wait at once
    activations = next(one for one in row.stages if one.stage.name == "activations")
    assert activations.stage.peak.host["hidden states"] == 2 * 6 * 12 * 32 * 4


def test_a_model_that_is_not_there_is_a_row_with_its_error(tmp_path: Path) -> None:
    row = planned(tiny_config(Path("/nowhere/at/all"), tmp_path / "store"))
    assert row.error is not None and "No model at /nowhere/at/all" in row.error


def test_units_in_the_store_are_done(model: Path, tmp_path: Path) -> None:
    """One of two languages measured, without any worker: its pass is run here."""
    study = tiny_config(model, tmp_path / "store")
    with TinyStudy(study, model) as tiny:
        english = Sentences({"en": tiny.do("corpora").sentences.detection["en"]}, {}, {})
        detect(tiny.ledger, english, tiny.workers, study.detection)
    row = planned(study)
    assert row.units["detection"] == {"done": 1, "to_do": 1}


def test_units_of_a_lowered_floor_are_done(model: Path, tmp_path: Path) -> None:
    """Where the study went is found in the store; a rule that goes on from there has its first floor."""
    rule, floor = {"target_shared": 0.1}, {"floor_fraction": 0.5}
    study = tiny_config(model, tmp_path / "store", selection=rule, detection=floor)
    with TinyStudy(study, model) as tiny:
        tiny.do("corpora", "detection", "ablation")
        assert tiny.group.n_passes > 2 * 2 + 1, "lowered"
    row = planned(study)
    assert row.units["detection"] == {"done": 2, "to_do": 0} and row.units["perplexity"]["done"] > 1
    other = planned(study.model_copy(update={"selection": SelectionConfig(target_shared=0.2)}))
    assert other.units["detection"] == {"done": 2, "to_do": 0} and other.units["perplexity"]["done"] == 0
