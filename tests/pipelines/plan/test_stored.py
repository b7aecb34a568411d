"""What a plan says is done, beside what the study itself then does: stage after stage, nothing is written by asking."""

from pathlib import Path
from typing import Any

import pytest

from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.pipelines.plan.units import units_of
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.slot import Workers
from polyneuron.pipelines.stages import training
from polyneuron.pipelines.stages.training_job import TrainingJob, edit_file, kept_edit
from tests.pipelines.in_process import TinyStudy, tiny_config
from tests.tiny_models import save_tiny_model

STAGES = ("corpora", "detection", "activations", "ablation", "metrics", "training", "evaluation")
SECTIONS: dict[str, Any] = {
    "selection": {"target_shared": 0.05},
    "detection": {"mode": "full", "noise_floor": "off"},
    "activations": {"detectors": ["lape"], "controls": 1},
    "training": {
        "languages": ["sw"],
        "strategies": ["shared", "random"],
        "mixture": "embedded",
        "n_documents": "all",
        "max_tokens": 64,
        "max_steps": 2,
    },
    "evaluation": {
        "data": "sample",
        "languages": ["en"],
        "variants": ["shared"],
        "benchmarks": [{"name": "xnli", "max_items": 1}],
        "engine": {"backend": "hf"},
    },
}
TABLES = {
    "detections": "detection",
    "perplexities": "perplexity",
    "training": "training",
    "scores": "benchmarks",
    "activations": "activations",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def train_nothing(ledger: Ledger, workers: Workers, job: TrainingJob) -> WeightEdit:
    """Keeps an edit and its row as a training does, of neurons that are switched off."""
    if (kept := kept_edit(ledger, job.work.key)) is not None:
        return kept
    edit, file = WeightEdit.zero(job.work.neuron_set), edit_file(ledger, job.work.key)
    file.parent.mkdir(exist_ok=True)
    edit.save(file)
    row = {
        "variant": str(job.name),
        "strategy": job.strategy,
        "control_of": None,
        "reason": "",
        "language": "sw",
    }
    row |= {"seed": 0, "n_neurons": 1, "n_trainable": 1, "edit": edit.fingerprint(), "step": 1}
    row |= {"loss_nats": 1.0, "learning_rate": 1.0, "gradient_norm": 1.0, "n_tokens": 1}
    ledger.put("training", job.work.key, [row])
    return edit


def files_in(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_plan_finds_what_the_study_finds(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "trained_edit", train_nothing)
    config = tiny_config(model, tmp_path / "store", **SECTIONS)
    done_before: dict[str, int] = {}
    for stage in STAGES:
        with TinyStudy(config, model) as study:
            if stage == "evaluation":
                study.do(*STAGES[:-1])
                study.with_judge()
                study.evaluation()
            else:
                study.do(*STAGES[: STAGES.index(stage) + 1])
            n_done = {
                name: len(set(study.ledger.read(table)["unit"].to_pylist())) for table, name in TABLES.items()
            }
            found = study.detected if stage in STAGES[3:] else []
            n_detected = sum(1 + sum(map(bool, (each.neurons for each in sets.variants))) for sets in found)
        files = files_in(tmp_path / "store")
        capsys.readouterr()
        units = units_of(config, config.models[0])
        assert files_in(tmp_path / "store") == files and not capsys.readouterr().err
        n_done["perplexity"] -= n_detected
        assert {name: units[name]["done"] for name in n_done} == n_done, stage
        assert sum(n_done.values()) > sum(done_before.values()) or stage in ("corpora", "metrics")
        done_before = n_done
    assert all(counts == {"done": counts["done"], "to_do": 0} for counts in units.values())
    assert units["training"]["done"] == 2 and units["benchmarks"]["done"] == 4

    (edit, _) = sorted((tmp_path / "store" / "edits").glob("*.safetensors"))
    edit.write_bytes(b"damaged")
    units = units_of(config, config.models[0])
    assert units["training"] == {"done": 1, "to_do_at_most": 1} and edit.read_bytes() == b"damaged"
    assert units["benchmarks"] == {"done": 3, "to_do_at_most": 1}

    other = tiny_config(model, tmp_path / "store", **SECTIONS | {"selection": {"target_shared": 0.1}})
    units = units_of(other, other.models[0])
    assert units["detection"] == {"done": 2, "to_do": 0} and units["training"]["done"] == 0
