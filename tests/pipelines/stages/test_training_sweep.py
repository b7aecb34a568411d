"""What a sweep trains: every strategy once, what has no neurons left out and named, and what is compared with what.

Only the training itself is replaced; `test_training_stage.py` has it.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.pipelines.run.subject import Subject
from polyneuron.pipelines.stages import training
from polyneuron.pipelines.stages.corpora import prepare_corpora
from polyneuron.pipelines.stages.selection import detect_and_select
from polyneuron.pipelines.stages.verdicts import comparisons
from tests.pipelines.in_process import InProcess, tiny_config
from tests.tiny_models import save_tiny_model

SETTINGS: dict[str, Any] = {
    "mixture": "embedded",
    "n_documents": "all",
    "max_tokens": 64,
    "global_batch": 4,
    "max_steps": 2,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def sweep(
    model: Path, store: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> tuple[list[Any], list[str], list[str]]:
    """Variants, units and what was said, of a study in which Swahili owns no neuron."""
    config = tiny_config(
        model,
        store,
        selection={"target_shared": 0.05},
        detection={"mode": "full"},
        training=SETTINGS | settings,
    )
    said: list[str] = []
    monkeypatch.setattr(training, "say", said.append)
    monkeypatch.setattr(
        training, "trained_edit", lambda subject, store, run_id, plan: WeightEdit.zero(plan.neurons)
    )
    subject = Subject.open(config, config.models[0])
    subject._group = InProcess(model)
    prepare_corpora(subject, Store(store), "run")
    selected = detect_and_select(subject, Store(store), "run")
    shared = selected.selection.shared
    related = {**selected.selection.related, "sw": shared}
    selected = replace(selected, selection=replace(selected.selection, related=related))
    tuned, units = training.train(subject, Store(store), "run", selected, None)
    return tuned, units, said


def test_a_strategy_without_neurons_is_named_and_the_others_go_on(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned, units, said = sweep(
        model,
        tmp_path / "store",
        monkeypatch,
        languages=["sw", ["en", "sw"]],
        strategies=["exclusive", "shared", "random", "auto"],
    )
    assert [str(variant.name) for variant in tuned] == [
        "tuned-shared-sw",
        "tuned-random-sw",
        "tuned-exclusive-en+sw",
        "tuned-shared-en+sw",
        "tuned-random-en+sw",
    ]
    assert len(set(units)) == 5 and {variant.name.language for variant in tuned} == {"sw", "en+sw"}
    assert any(
        line.startswith("  exclusive for sw is not trained: The strategy exclusive has no") for line in said
    )
    assert sum("auto" in line and "score" in line for line in said) == 2
    compared = {(str(variant), str(baseline)) for variant, baseline in comparisons(tuned)}
    assert ("tuned-exclusive-en+sw", "tuned-random-en+sw") in compared
    assert ("tuned-random-sw", "tuned-random-sw") not in compared


def test_nothing_to_train_at_all_is_an_error(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SetError, match="no neuron to train for sw"):
        sweep(model, tmp_path / "store", monkeypatch, languages=["sw"], strategies=["exclusive"])


def test_what_auto_chooses_is_trained_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_score", lambda store, metrics: 2.0)
    tuned, units, _ = sweep(
        model, tmp_path / "store", monkeypatch, languages=["en"], strategies=["shared", "auto"], seeds=[0, 1]
    )
    assert [str(variant.name) for variant in tuned] == ["tuned-shared-en-0", "tuned-shared-en-1"]
    assert len(set(units)) == 2
