"""What of a model takes the machine's room, one at a time: the workers that share it, or the engine that judges it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from polyneuron.eval.engines.settings import EngineSettings
from polyneuron.eval.tasks.benchmark_data import BenchmarkData
from polyneuron.pipelines.config.evaluation import EvaluationConfig
from polyneuron.pipelines.config.study import ClusterConfig
from polyneuron.pipelines.run.progress import bar, say, tell
from polyneuron.pipelines.run.studied_model import StudiedModel

if TYPE_CHECKING:
    from polyneuron.cluster.actors.group import Kind
    from polyneuron.cluster.spec import ModelSpec

_ENGINE, _WORKERS = "engine", "workers"
_OF_EACH_MODEL = {"offload", "weights", "hidden_states_gib"}
"""Settings of the cluster that say how a model lies in memory; the rest says how many workers there are."""


class Slot:
    """Holds workers or the engine of one model; what comes next ends what is there. Ray is started for the first, and stays.
    Leaving it as a context ends all."""

    def __init__(self, n_cpus: int) -> None:
        """`n_cpus`: cores that a Ray of our own offers."""
        self._n_cpus, self._has_ray = n_cpus, False
        self._ray, self._stack = ExitStack(), ExitStack()
        self._holder: str | None = None
        self._held: Any = None

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, *exc: object) -> None:
        with self._ray:
            self.clear()

    def start_ray(self) -> None:
        """Brings Ray up, unless it is."""
        from polyneuron.cluster.actors.session import ray_session

        if not self._has_ray:
            self._ray.enter_context(ray_session(self._n_cpus))
            self._has_ray = True

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
        self._kind: Kind = "passes"

    def run(self, title: str, function: Any, batches: Sequence[Any], **kwargs: Any) -> list[Any]:
        """Runs a pass over the model's layers on every worker; results by rank.

        Raises:
            ClusterError: workers that cannot be kept alive. What `function` raises.
        """
        group = self._turned_to("passes")
        with bar(title) as report:
            results: list[Any] = group.run(function, batches, progress=report, **kwargs)
        return results

    @contextmanager
    def training(self, zero_stage: Literal[2, 3], nf4: bool = False) -> Iterator[Any]:
        """Workers that train on a base nobody has touched; `nf4`: in 4 bits."""
        try:
            yield self._turned_to("zero2" if zero_stage == 2 else "zero3", nf4)
        except BaseException:
            self._slot.clear()  # a rank may still wait for the others
            raise

    def _turned_to(self, kind: Kind, nf4: bool = False) -> Any:
        """Workers for work of a kind: those that run are given a fresh model, unless they do passes and are to go on. DeepSpeed
        does not let go of a base that was sharded for training, so such workers serve once."""
        if "zero3" in (kind, self._kind):
            self._slot.clear()
        run_already = self._slot.holds(_WORKERS)
        group = self._slot.hold(_WORKERS, lambda: self._group(kind, nf4))
        if run_already and (kind != "passes" or self._kind != "passes"):
            group.turn_to(self._spec(nf4), kind)
        self._kind = kind
        return group

    def _spec(self, nf4: bool) -> ModelSpec:
        from polyneuron.cluster.spec import ModelSpec

        model = self.model
        return ModelSpec(
            source=model.source,
            dtype=model.dtype,
            revision=model.revision,
            fingerprint=model.fingerprint,
            trust_remote_code=model.config.trust_remote_code,
            nf4=nf4,
            **self._cluster.model_dump(include=_OF_EACH_MODEL),
        )

    @contextmanager
    def _group(self, kind: Kind, nf4: bool = False) -> Iterator[Any]:
        from polyneuron.cluster.actors.group import ModelGroup
        from polyneuron.cluster.spec import GroupSpec

        cluster = self._cluster
        plural = "s" if cluster.world_size > 1 else ""
        say(f"  starting {cluster.world_size} worker{plural} for {self.model.label}")
        sizes = GroupSpec(**cluster.model_dump(exclude={*_OF_EACH_MODEL, "models_at_once"}))
        self._slot.start_ray()
        with ModelGroup(self._spec(nf4), sizes, kind, tell) as group:
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
        from polyneuron.cluster.actors.solo import SoloActor
        from polyneuron.eval.tasks.judge import Judge

        engine = self._config
        self._slot.start_ray()
        with SoloActor(
            Judge,
            (self.settings, *self._data),
            cpus=engine.threads,
            gpus=engine.gpus,
            max_restarts=engine.max_restarts,
            way_out="Lower the engine's threads or gpus, or add nodes",
            tell=tell,
        ) as actor:
            yield actor
