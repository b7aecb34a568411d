"""Stages without Ray: a tiny study, and one process in place of a worker group or of the engine's actor."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.engines.settings import EngineSettings
from polyneuron.eval.store.store import Store
from polyneuron.eval.tasks.judge import Judge
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from polyneuron.pipelines.config.study import StudyConfig
from polyneuron.pipelines.model_run import ModelRun
from polyneuron.pipelines.run.slot import JudgingEngine
from polyneuron.pipelines.stages.order import STAGES


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

    def __init__(self, settings: EngineSettings) -> None:
        self._judge = Judge(settings, "sample")
        self.n_calls = 0

    def call(self, method: str, *arguments: Any) -> Any:
        self.n_calls += 1
        return getattr(self._judge, method)(*arguments)


def judge_locally(monkeypatch: pytest.MonkeyPatch) -> list[LocalJudge]:
    """Engines start in this process from now on; returns the list of those that were started."""
    started: list[LocalJudge] = []

    @contextmanager
    def start(engine: JudgingEngine) -> Iterator[LocalJudge]:
        started.append(LocalJudge(engine.settings))
        yield started[-1]

    monkeypatch.setattr(JudgingEngine, "_start", start)
    return started


def tiny_config(model: Path, store: Path, **sections: object) -> StudyConfig:
    """Two languages of the embedded corpus, six sentences each, and one draw of each kind of control."""
    values: dict[str, object] = {
        "models": [{"path": str(model), "name": "tiny"}],
        "languages": ["en", "sw"],
        "corpus": {"n_detection": 6, "n_heldout": 3, "max_tokens": 12},
        "ablation": {"shared_control_seeds": 1, "exclusive_control_seeds": 1},
        "store": str(store),
        **sections,
    }
    return StudyConfig.model_validate(values)


class TinyStudy(ModelRun):
    """The first model of a study, its passes run in this process by `group`, and its stages by name."""

    def __init__(
        self, config: StudyConfig, model: Path, run_id: str = "run", *, keeps_sentences: bool = False
    ) -> None:
        self.store = Store(config.store)
        super().__init__(config, config.models[0], self.store, run_id, keeps_sentences=keeps_sentences)
        self.group = InProcess(model)
        self.workers._group = lambda kind, nf4=False: nullcontext(self.group)  # type: ignore[assignment, method-assign]

    def __enter__(self) -> "TinyStudy":
        return self

    def __exit__(self, *exc: object) -> None:
        self.slot.clear()

    def do(self, *stages: str) -> "TinyStudy":
        """Runs some stages in their order."""
        for stage in STAGES:
            if stage.name in stages:
                stage.run(self)
                self.ledger.close_stage()
        return self

    def listed(self) -> set[tuple[str, str]]:
        """(table, unit) of all that the runs on this store listed."""
        rows = self.store.read("studies").to_pylist()
        return {(row["table"], row["unit"]) for row in rows}

    def judge_by(self, judge: Any) -> Any:
        """The engine runs already, as `judge`."""
        self.slot.clear()
        return self.slot.hold("engine", lambda: nullcontext(judge))

    def with_judge(self) -> LocalJudge:
        """The engine runs already, in this process."""
        judge: LocalJudge = self.judge_by(LocalJudge(self.engine.settings))
        return judge
