"""What a sweep trains: every strategy once, what has no neurons left out and named, and what is compared with what.

Only the training itself is replaced; `test_training_stage.py` has it.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.slot import Workers
from polyneuron.pipelines.stages import training
from polyneuron.pipelines.stages.training_job import TrainingJob
from polyneuron.pipelines.stages.verdicts import comparisons
from tests.pipelines.in_process import TinyStudy, tiny_config
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


class Sweep:
    """Variants, jobs and what was said, of a study in which Swahili owns no neuron."""

    def __init__(
        self,
        model: Path,
        store: Path,
        monkeypatch: pytest.MonkeyPatch,
        selection: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.said: list[str] = []
        self.jobs: list[TrainingJob] = []

        def trained_edit(ledger: Ledger, workers: Workers, job: TrainingJob) -> WeightEdit:
            self.jobs.append(job)
            return WeightEdit.zero(job.work.neuron_set)

        monkeypatch.setattr(training, "say", self.said.append)
        monkeypatch.setattr(training, "trained_edit", trained_edit)
        config = tiny_config(
            model,
            store,
            selection=selection or {"target_shared": 0.05},
            detection={"mode": "full"},
            training=SETTINGS | settings,
        )
        with TinyStudy(config, model) as study:
            selected = study.do("corpora", "detection").selected
            shared = selected.selection.shared
            related = {**selected.selection.related, "sw": shared}
            self.tuned = training.train(
                study.ledger,
                study.sentences,
                study.workers,
                replace(selected, selection=replace(selected.selection, related=related)),
                config=config.training,
                metrics=None,
                seed=0,
            )
        self.units = {job.work.key for job in self.jobs}
        self.names = [str(variant.name) for variant in self.tuned]


def test_a_strategy_without_neurons_is_named_and_the_others_go_on(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = Sweep(
        model,
        tmp_path / "store",
        monkeypatch,
        languages=["sw", ["en", "sw"]],
        strategies=["random", "exclusive", "shared", "auto"],
    )
    assert swept.names == [
        "tuned-shared-sw",
        "tuned-random-shared-sw",
        "tuned-exclusive-en+sw",
        "tuned-shared-en+sw",
        "tuned-random-shared-en+sw",
        "tuned-random-exclusive-en+sw",
    ]
    assert len(swept.units) == 6 and {variant.name.language for variant in swept.tuned} == {"sw", "en+sw"}
    for named in ("exclusive", "random as exclusive"):
        words = f"  {named} for sw is not trained: The strategy exclusive has no"
        assert any(line.startswith(words) for line in swept.said)
    assert sum("auto" in line and "score" in line for line in swept.said) == 1
    compared = {(str(each.variant), str(each.baseline)) for each in comparisons(swept.tuned)}
    assert compared - {(name, "base") for name in swept.names} == {
        ("tuned-shared-sw", "tuned-random-shared-sw"),
        ("tuned-shared-en+sw", "tuned-random-shared-en+sw"),
        ("tuned-exclusive-en+sw", "tuned-random-exclusive-en+sw"),
    }


def test_random_neurons_are_as_many_as_the_set_they_are_named_for(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = Sweep(
        model, tmp_path / "store", monkeypatch, languages=["en"], strategies=["shared", "related", "random"]
    )
    sets = {str(variant.name): variant.neurons for variant in swept.tuned}
    for name in ("shared", "related"):
        trained, random = sets[f"tuned-{name}-en"], sets[f"tuned-random-{name}-en"]
        assert trained is not None and random is not None and not len(trained & random)
        assert random.counts_by_layer() == trained.counts_by_layer() and random.counts() == trained.counts()
    assert len(sets["tuned-shared-en"] or ()) != len(sets["tuned-related-en"] or ())
    reasons = {str(job.name): job.reason for job in swept.jobs}
    assert reasons["tuned-random-shared-en"] == "as many neurons as shared"


def test_random_alone_is_as_many_as_the_related_neurons(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = Sweep(model, tmp_path / "store", monkeypatch, languages=["en"], strategies=["random", "full"])
    assert swept.names == ["tuned-full-en", "tuned-random-related-en"]


def test_too_few_free_neurons_are_said(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly every neuron matters to English or French."""
    swept = Sweep(
        model,
        tmp_path / "store",
        monkeypatch,
        languages=["en"],
        strategies=["related", "random"],
        selection={"rule": "quantile", "fraction": 0.8},
    )
    (reason,) = (job.reason for job in swept.jobs if job.name.control_of)
    trained, random = swept.tuned
    assert random.n_neurons < trained.n_neurons
    assert reason == (
        f"as many neurons as related, but only {random.n_neurons} of {trained.n_neurons} are in no language's set"
    )


def test_nothing_to_train_at_all_is_an_error(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SetError, match="no neuron to train for sw"):
        Sweep(model, tmp_path / "store", monkeypatch, languages=["sw"], strategies=["exclusive"])


def test_what_auto_chooses_is_trained_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_score", lambda ledger, metrics: 2.0)
    swept = Sweep(
        model, tmp_path / "store", monkeypatch, languages=["en"], strategies=["shared", "auto"], seeds=[0, 1]
    )
    assert swept.names == ["tuned-shared-en-0", "tuned-shared-en-1"]
    assert len(swept.units) == 2
