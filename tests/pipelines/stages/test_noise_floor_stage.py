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


def without_run(study: TinyStudy, table: str) -> list[dict[str, Any]]:
    """The rows of a table, whatever run and unit they come from."""
    rows = study.store.read(table).drop_columns(["run_id"]).to_pylist()
    return sorted(({**row, "unit": None} for row in rows), key=repr)


def test_one_pass_serves_detection_and_the_noise_floor(model: Path, tmp_path: Path) -> None:
    """What detection measured is not measured again, and both are what each measures alone."""
    sections: dict[str, Any] = {"selection": {"target_shared": 0.02}}
    with TinyStudy(tiny_config(model, tmp_path / "a", **sections), model, keeps_sentences=True) as both:
        both.do("corpora", "detection", "noise_floor")
    assert both.group.n_passes == 2 * 2, "seed and rest of two languages"
    apart = studied(model, tmp_path / "b")
    assert without_run(both, "noise_floor") == without_run(apart, "noise_floor")
    detection = {"noise_floor": "off", "mode": "full"}
    with TinyStudy(tiny_config(model, tmp_path / "c", detection=detection, **sections), model) as alone:
        alone.do("corpora", "detection")
    for table in ("impacts", "detections"):
        assert without_run(both, table) == without_run(alone, table) == without_run(apart, table)
    assert not any(row["bounded"] for row in both.store.read("impacts").to_pylist())


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


def test_the_plan_has_its_memory_where_it_is_measured(model: Path, tmp_path: Path) -> None:
    detections = {}
    for wanted, mode in (("on", "certified"), ("off", "certified"), ("off", "full")):
        config = tiny_config(model, tmp_path / "store", detection={"noise_floor": wanted, "mode": mode})
        (row,) = plan(config).models
        detections[wanted, mode] = next(each.stage for each in row.stages if each.stage.name == "detection")
    with_floor, full = detections["on", "certified"], detections["off", "full"]
    assert with_floor.flops == full.flops >= detections["off", "certified"].flops
    n_neurons = 3 * (32 + 16 + 16 + 40)
    assert with_floor.phases[1].host["impacts"] == 4 * 6 * n_neurons
    assert any("noise floor" in note for note in with_floor.notes) and not full.notes
