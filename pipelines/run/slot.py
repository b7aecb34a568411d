"""What of a model takes the machine's room, one at a time: the workers that share it, or the engine that judges it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from typing import Any, Literal

from polyneuron.eval.engines.settings import EngineSettings
from polyneuron.eval.tasks.benchmark_data import BenchmarkData
from polyneuron.pipelines.config.evaluation import EvaluationConfig
from polyneuron.pipelines.config.study import ClusterConfig
from polyneuron.pipelines.run.progress import bar, say, tell
from polyneuron.pipelines.run.studied_model import StudiedModel

_ENGINE, _PASSES = "engine", "workers for passes"
_OF_EACH_MODEL = {"offload", "weights", "hidden_states_gib"}
"""Settings of the cluster that say how a model lies in memory; the rest says how many workers there are."""


class Slot:
    """Holds workers or the engine of one model; what comes next ends what is there. Leaving it as a context ends all."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._holder: str | None = None
        self._held: Any = None

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, *exc: object) -> None:
        self.clear()

    def holds(self, holder: str) -> bool:
        """Whether `holder` has been started and not been ended."""
        return self._holder == holder

    def hold(self, holder: str, start: Callable[[], AbstractContextManager[Any]]) -> Any:
        """What `start` yields, which runs until something else needs the place; started only if it does not run yet."""
        if not self.holds(holder):
            self.clear()
            self._held = self._stack.enter_context(start())
            self._holder = holder
        return self._held

    def clear(self) -> None:
        """Ends what is there."""
        self._holder = self._held = None
        self._stack.close()


class Workers:
    """Workers of one model, for passes over it or to train it, which start when they are needed."""

    def __init__(self, model: StudiedModel, cluster: ClusterConfig, slot: Slot) -> None:
        self.model, self._cluster, self._slot = model, cluster, slot

    def run(self, title: str, function: Any, batches: Sequence[Any], **kwargs: Any) -> list[Any]:
        """Runs a pass over the model's layers on every worker; results by rank.

        Raises:
            ClusterError: workers that cannot be kept alive. What `function` raises.
        """
        group = self._slot.hold(_PASSES, lambda: self._group("passes"))
        with bar(title) as report:
            results: list[Any] = group.run(function, batches, progress=report, **kwargs)
        return results

    @contextmanager
    def training(self, zero_stage: Literal[2, 3], nf4: bool = False) -> Iterator[Any]:
        """A fresh group of workers that train, in place of whatever runs; `nf4`: on a base in 4 bits."""
        self._slot.clear()
        with self._group("zero2" if zero_stage == 2 else "zero3", nf4) as group:
            yield group

    @contextmanager
    def _group(self, kind: Literal["passes", "zero2", "zero3"], nf4: bool = False) -> Iterator[Any]:
        from polyneuron.cluster.actors.group import ModelGroup
        from polyneuron.cluster.actors.session import ray_session
        from polyneuron.cluster.spec import GroupSpec, ModelSpec

        model, cluster = self.model, self._cluster
        say(
            f"  starting {cluster.world_size} worker{'s' if cluster.world_size > 1 else ''} for {model.label}"
        )
        spec = ModelSpec(
            source=model.source,
            dtype=model.dtype,
            revision=model.revision,
            fingerprint=model.fingerprint,
            trust_remote_code=model.config.trust_remote_code,
            nf4=nf4,
            **cluster.model_dump(include=_OF_EACH_MODEL),
        )
        sizes = GroupSpec(**cluster.model_dump(exclude={*_OF_EACH_MODEL, "models_at_once"}))
        with (
            ray_session(cluster.world_size * cluster.threads_per_worker),
            ModelGroup(spec, sizes, kind, tell) as group,
        ):
            yield group


class JudgingEngine:
    """The inference engine of one model, which starts when it is asked for, and the benchmarks' data that it reads."""

    def __init__(self, model: StudiedModel, config: EvaluationConfig, slot: Slot, *, seed: int) -> None:
        self.model = model
        self.settings = EngineSettings(
            source=model.source,
            dtype=model.dtype,
            add_bos=model.adds_bos,
            revision=model.revision,
            fingerprint=model.fingerprint,
            trust_remote_code=model.config.trust_remote_code,
            seed=seed,
            **config.engine.model_dump(exclude={"threads", "max_restarts"}),  # which are the actor's
        )
        self._config, self._slot = config.engine, slot
        self._data = (config.data, config.revisions)

    @cached_property
    def data(self) -> BenchmarkData:
        """The benchmarks' items; what was looked up once, such as the hub's commit, stays for as long as this engine."""
        return BenchmarkData(*self._data)

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
                (self.settings, *self._data),
                cpus=engine.threads,
                gpus=engine.gpus,
                max_restarts=engine.max_restarts,
                way_out="Lower the engine's threads or gpus, or add nodes",
                tell=tell,
            ) as actor,
        ):
            yield actor
