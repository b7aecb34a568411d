"""A group of Ray actors that share one model under ZeRO-3, with restarts: the door through which stages do model work."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import ray

from polyneuron.cluster.actors.placement import Room, Tell
from polyneuron.cluster.actors.stopping import raise_if_stopped
from polyneuron.cluster.actors.supervised import Lost, Supervised, answer
from polyneuron.cluster.ranks.worker import Worker
from polyneuron.cluster.spec import GroupSpec, ModelSpec
from polyneuron.neuron_core.common.errors import ClusterError
from polyneuron.neuron_core.passes.batches import MicroBatch

Kind = Literal["passes", "zero2", "zero3"]
"""What a group does: passes in layer-major order, or training with the base whole (zero2) or sharded (zero3)."""
Progress = Callable[[int, int], None]
State = tuple[str, int, int]
"""What a rank is doing: name of the pass, how much is done, how much there is in all."""
_POLL_S = 0.2
_LOAD_TIMEOUT_S = 3600.0
"""Loading reports nothing until it ends, and a large model comes over a network."""


class ModelGroup(Supervised):
    """`world_size` actors, each with its shard. Use as a context manager; needs `ray_session`. A worker that dies or hangs,
    alone or with its node, takes the group down; the group is started anew where there is room and the pass that was running
    runs again, at most `max_restarts` times. Results do not depend on it: a pass has no effect but its return value."""

    def __init__(
        self,
        model: ModelSpec,
        group: GroupSpec | None = None,
        kind: Kind = "passes",
        tell: Tell | None = None,
    ) -> None:
        """`kind`: layer-major passes over a sharded or streamed model, or training over a whole (zero2) or sharded (zero3) one;
        tell: hears a line now and then while the group waits for room, and when it is started anew."""
        self.model, self.spec, self._kind = model, group or GroupSpec(), kind
        self._endpoint, self._is_loaded = ("", 0), False
        n = self.spec.world_size
        room = Room(
            count=n,
            cpus=float(self.spec.threads_per_worker),
            gpus=self.spec.gpus_per_worker,
            strict=False,
            noun=f"{n} worker{'s' if n > 1 else ''}",
            way_out="Lower cluster.world_size or cluster.threads_per_worker, or add nodes",
        )
        super().__init__("the workers", room, self.spec.max_restarts, tell)

    def __enter__(self) -> Self:
        self._supervised(lambda: None)
        return self

    def turn_to(self, model: ModelSpec, kind: Kind) -> None:
        """Loads a model for work of `kind` in the processes that run, in place of what they hold. Starting new ones takes longer
        than loading a small model. After training with zero3 the old base stays in memory. Raises as `run`."""
        self.model, self._kind, self._is_loaded = model, kind, False

        def load_unless_started_anew() -> None:
            if not self._is_loaded:
                self._load()

        self._supervised(load_unless_started_anew)

    def run(
        self,
        function: Callable[..., Any],
        batches: Sequence[MicroBatch],
        progress: Progress | None = None,
        **kwargs: Any,
    ) -> list[Any]:
        """Runs `function(runner, micro-batches of the rank, progress=…, **kwargs)` on every rank; results by rank.

        Rank r takes batches[r::world_size]; a rank without batches takes part all the same, since gathers are collective.

        Raises:
            ClusterError: workers failed more often than `max_restarts` allows.
            PolyneuronError: the first error for people that a rank met.
            Stopped: the study was interrupted (`polyneuron.cluster.actors.stopping`).
        """
        name = function.__name__

        def work() -> list[Any]:
            raise_if_stopped()
            inputs = ray.put(list(batches)), ray.put(kwargs)
            pending = [worker.run.remote(name, function, *inputs) for worker in self._actors]
            return self._collect(name, pending, progress, self.spec.hang_timeout_s)

        return self._supervised(work)

    def stats(self) -> list[dict[str, Any]]:
        """Returns for each rank what its model counts (`PassModel.stats`, `TrainingModel.stats`), with its process id."""
        by_rank: list[dict[str, Any]] = ray.get([worker.stats.remote() for worker in self._actors])
        return by_rank

    def reset_stats(self) -> None:
        """Makes every rank count anew from here on."""
        ray.get([worker.reset_stats.remote() for worker in self._actors])

    def _start(self) -> None:
        spec = self.spec
        environment = {} if spec.gpus_per_worker else {"DS_ACCELERATOR": "cpu"}
        ranks = [(rank, spec.world_size, spec.threads_per_worker) for rank in range(spec.world_size)]
        self._launch(Worker, ranks, environment, concurrency=2)
        self._require_one_kind()
        self._endpoint = ray.get(self._actors[0].endpoint.remote())
        self._load()

    def _load(self) -> None:
        loading = [worker.load.remote(self.model, *self._endpoint, self._kind) for worker in self._actors]
        self._collect("loading the model", loading, None, _LOAD_TIMEOUT_S)
        self._is_loaded = True

    def _collect(
        self, name: str, pending: list[Any], progress: Progress | None, timeout_s: float
    ) -> list[Any]:
        results: dict[Any, Any] = {}
        waiting, watch = list(pending), Watch(self._actors)
        while waiting:
            raise_if_stopped()
            done, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=_POLL_S)
            results |= {reference: answer(reference, "A worker", has_peers=True) for reference in done}
            if done:
                watch.advanced()
            if waiting:
                watch.look(_POLL_S)
                _, done_there, in_all = watch.states[0]
                if progress is not None and in_all:
                    progress(done_there, in_all)
                if watch.idle_s > timeout_s:
                    raise Lost(f"{name}: no rank advanced for {timeout_s:g} s; {watch.where()}")
        return [results[reference] for reference in pending]

    def _require_one_kind(self) -> None:
        """Ranks wait for each other in every layer, and other devices round otherwise."""
        asked = [worker.device.remote() for worker in self._actors]
        devices: list[tuple[str, str]] = self._collect("starting the workers", asked, None, _LOAD_TIMEOUT_S)
        if len({device for device, _ in devices}) > 1:
            found = ", ".join(f"rank {rank} {device} ({host})" for rank, (device, host) in enumerate(devices))
            raise ClusterError(
                f"The workers of one model would compute on different devices: {found}. The slowest would set the pace, and "
                "the numbers would depend on who measured what. Lower cluster.world_size to what nodes of one kind hold, "
                "or give the study a cluster of one kind"
            )


class Watch:
    """Asks every worker for its state. A question stays open until it is answered; until then the last answer holds."""

    def __init__(self, workers: Sequence[Any]) -> None:
        self._workers = workers
        self._asked: list[Any] = [None] * len(workers)
        self.states: list[State] = [("starting", 0, 0)] * len(workers)
        self._advanced_at = time.monotonic()

    def look(self, timeout_s: float) -> None:
        """Collects the answers that come within `timeout_s`. Raises RayActorError when a worker is dead."""
        for rank, worker in enumerate(self._workers):
            if self._asked[rank] is None:
                self._asked[rank] = worker.state.remote()
        done, _ = ray.wait(self._asked, num_returns=len(self._asked), timeout=timeout_s)
        before = list(self.states)
        for rank, question in enumerate(self._asked):
            if question in done:
                self.states[rank], self._asked[rank] = ray.get(question), None
        if self.states != before:
            self.advanced()

    def advanced(self) -> None:
        """Something was finished: the clock starts anew."""
        self._advanced_at = time.monotonic()

    @property
    def idle_s(self) -> float:
        """Seconds since any rank last advanced."""
        return time.monotonic() - self._advanced_at

    def where(self) -> str:
        """Every rank and how far it is; ranks that do not answer first."""
        silent = [rank for rank, question in enumerate(self._asked) if question is not None]
        ranks = sorted(range(len(self.states)), key=lambda rank: rank not in silent)
        return ", ".join(_at(rank, self.states[rank], rank in silent) for rank in ranks)


def _at(rank: int, state: State, silent: bool) -> str:
    name, done, total = state
    place = f"{name}, {done} of {total} done"
    return f"rank {rank} does not answer and was last in {place}" if silent else f"rank {rank} in {place}"
