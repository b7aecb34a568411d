"""The noise floor in a study without Ray: measured once, by default where it is small, and said where it is not."""

from pathlib import Path
from typing import Any

import pytest

import polyneuron as pn
from polyneuron.eval.report.numbers.study import read_report
from polyneuron.eval.report.page import render
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.selection.rules import ScaledSigma
from polyneuron.pipelines.config import study as configuration
from polyneuron.pipelines.config.load import CONFIGS, load_study
from polyneuron.pipelines.plan.planning import plan
from tests.pipelines.in_process import TinyStudy, tiny_config
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def studied(model: Path, store: Path, run_id: str = "run", **sections: Any) -> TinyStudy:
    sections = {"selection": {"target_shared": 0.02}} | sections
    with TinyStudy(tiny_config(model, store, **sections), model, run_id) as study:
        study.do("corpora", "detection")
        study.group.n_passes = 0
        return study.do("noise_floor")


def test_it_is_that_of_the_notebook_and_its_sizes_are_those_of_the_selection(
    model: Path, tmp_path: Path
) -> None:
    study = studied(model, tmp_path / "store")
    assert study.group.n_passes == 2, "a pass a language"
    stored = study.store.read("noise_floor")
    live, _ = load_model(model)
    corpora = {
        code: [list(sentence.token_ids) for sentence in read]
        for code, read in study.sentences.detection.items()
    }
    direct = pn.noise_floor(live, None, corpora, ScaledSigma(target_shared=0.02))
    assert stored.select(direct.schema.names).to_pylist() == direct.to_pylist()
    sizes = {(row["kind"], row["language"]): row["n_neurons"] for row in stored.to_pylist()}
    selection = study.selected.selection
    assert sizes["shared", None] == len(selection.shared)
    for code, own in selection.exclusive.items():
        assert sizes["exclusive", code] == len(own)
        assert sizes["strict_exclusive", code] == len(selection.strict_exclusive[code])
    again = studied(model, tmp_path / "store", "again")
    assert again.group.n_passes == 0 and again.store.read("noise_floor").num_rows == stored.num_rows


def test_too_few_sentences_are_said(model: Path, tmp_path: Path) -> None:
    corpus = {"n_detection": 3, "n_heldout": 3, "max_tokens": 12}
    study = studied(model, tmp_path / "store", corpus=corpus)
    reasons = {row["null_reason"] for row in study.store.read("noise_floor").to_pylist()}
    assert len(reasons) == 1 and "too few" in reasons.pop()
    assert "too few to halve" in render(read_report(study.store, "run"), "A study")


def test_what_takes_too_much_memory_is_left_unless_asked_for(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(configuration, "NOISE_FLOOR_BYTES", 1000)
    left = studied(model, tmp_path / "store")
    assert left.group.n_passes == 0 and not left.store.read("noise_floor").num_rows
    assert "GiB" in capsys.readouterr().err
    assert "is not known" in render(read_report(left.store, "run"), "A study")
    asked = studied(model, tmp_path / "store", detection={"noise_floor": "on"})
    assert asked.group.n_passes == 2


def test_yaml_reads_on_and_off_as_truth_values() -> None:
    for written, meant in (("off", "off"), ("on", "on"), ("auto", "auto"), ("'off'", "off")):
        config = load_study(CONFIGS / "study_smollm2.yaml", [f"detection.noise_floor={written}"])
        assert config.detection.noise_floor == meant


def test_the_plan_has_its_passes_where_it_is_measured(model: Path, tmp_path: Path) -> None:
    stages = {}
    for wanted in ("on", "off"):
        config = tiny_config(model, tmp_path / "store", detection={"noise_floor": wanted, "mode": "full"})
        (row,) = plan(config).models
        stages[wanted] = {each.stage.name: each.stage for each in row.stages}
    assert set(stages["on"]) - set(stages["off"]) == {"noise floor"}
    found = stages["on"]["noise floor"]
    assert found.flops == stages["on"]["detection"].flops, "it is full detection once more"
    n_neurons = 3 * (32 + 16 + 16 + 40)
    assert found.phases[1].host["impacts"] == 4 * 6 * n_neurons
