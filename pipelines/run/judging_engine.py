"""The inference engine of the model under study, and the benchmarks' data that it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from polyneuron.eval.engines.settings import EngineSettings
from polyneuron.eval.tasks.benchmark_data import BenchmarkData
from polyneuron.pipelines.config.study import EngineConfig
from polyneuron.pipelines.run.progress import tell
from polyneuron.pipelines.run.slot import Slot
from polyneuron.pipelines.run.studied_model import StudiedModel

_ENGINE = "engine"


class JudgingEngine:
    """The engine of one model, which starts when it is asked for and ends when something else needs the place."""

    def __init__(
        self,
        model: StudiedModel,
        config: EngineConfig,
        slot: Slot,
        data: str,
        revisions: Mapping[str, str],
        *,
        seed: int,
    ) -> None:
        """`data`: hub, sample or a folder; `revisions`: of the hub's datasets, by their id."""
        self.settings = _settings(model, config, seed)
        self._config, self._slot = config, slot
        self._source, self._revisions = data, dict(revisions)

    @cached_property
    def data(self) -> BenchmarkData:
        """The benchmarks' items; what was looked up once, such as the hub's commit, stays for as long as this engine."""
        return BenchmarkData(self._source, self._revisions)

    @property
    def runs(self) -> bool:
        """Whether it has been started and not been ended."""
        return self._slot.holds(_ENGINE)

    def judge(self) -> Any:
        """The actor with a `polyneuron.eval.tasks.judge.Judge`, started if it does not run.

        Raises:
            EngineError, ClusterError: the engine cannot start.
        """
        return self._slot.hold(_ENGINE, self._start)

    @contextmanager
    def _start(self) -> Iterator[Any]:
        from polyneuron.cluster.actors.session import ray_session
        from polyneuron.cluster.actors.solo import SoloActor
        from polyneuron.eval.tasks.judge import Judge

        engine = self._config
        with (
            ray_session(engine.threads),
            SoloActor(
                Judge,
                (self.settings, self._source, self._revisions),
                cpus=engine.threads,
                gpus=engine.gpus,
                max_restarts=engine.max_restarts,
                way_out="Lower the engine's threads or gpus, or add nodes",
                tell=tell,
            ) as actor,
        ):
            yield actor


def _settings(model: StudiedModel, config: EngineConfig, seed: int) -> EngineSettings:
    return EngineSettings(
        source=model.source,
        dtype=model.dtype,
        add_bos=model.adds_bos,
        revision=model.config.revision,
        trust_remote_code=model.config.trust_remote_code,
        seed=seed,
        **config.model_dump(exclude={"threads", "max_restarts"}),  # which are the actor's
    )
