"""Stages without Ray: a tiny study, and one process in place of a worker group or of the engine's actor."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from polyneuron.eval.tasks.judge import Judge
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from polyneuron.pipelines.config.study import StudyConfig
from polyneuron.pipelines.run.subject import Subject


class InProcess:
    """The same passes over the same micro-batches as `polyneuron.cluster.actors.group.ModelGroup`; counts them."""

    def __init__(self, model: Path) -> None:
        self.runner = LayerMajor(load_model(model)[0])
        self.n_passes = 0

    def run(
        self, function: Callable[..., Any], batches: Sequence[Any], progress: Any = None, **kwargs: Any
    ) -> list[Any]:
        self.n_passes += 1
        return [function(self.runner, batches, progress=progress, **kwargs)]


class LocalJudge:
    """`polyneuron.cluster.actors.solo.SoloActor` without an actor; counts the calls."""

    def __init__(self, subject: Subject) -> None:
        self._judge = Judge(subject.engine_settings(), "sample")
        self.n_calls = 0

    def call(self, method: str, *arguments: Any) -> Any:
        self.n_calls += 1
        return getattr(self._judge, method)(*arguments)


def tiny_config(model: Path, store: Path, **sections: object) -> StudyConfig:
    """Two languages of the embedded corpus, six sentences each."""
    values: dict[str, object] = {
        "models": [{"path": str(model), "name": "tiny"}],
        "languages": ["en", "sw"],
        "corpus": {"n_detection": 6, "n_heldout": 3, "max_tokens": 12},
        "store": str(store),
        **sections,
    }
    return StudyConfig.model_validate(values)


def tiny_subject(config: StudyConfig, model: Path) -> tuple[Subject, InProcess]:
    """The model of a study, its passes run in this process."""
    subject, group = Subject.open(config, config.models[0]), InProcess(model)
    subject._group = group
    return subject, group
