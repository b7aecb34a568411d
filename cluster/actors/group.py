"""A group of Ray actors that share one model under ZeRO-3, with restarts: the door through which stages do
model work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.placement_group import remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from polyneuron.cluster.actors.failures import GONE, Lost, first_line, lost_peer
from polyneuron.cluster.actors.placement import Room, Tell, reserve
from polyneuron.cluster.actors.session import import_path
from polyneuron.cluster.actors.stopping import raise_if_stopped
from polyneuron.cluster.actors.watch import Watch
from polyneuron.cluster.ranks.worker import Worker
from polyneuron.cluster.spec import GroupSpec, ModelSpec
from polyneuron.neuron_core.common.errors import ClusterError, PolyneuronError
from polyneuron.neuron_core.passes.batches import MicroBatch

Progress = Callable[[int, int], None]
_POLL_S = 0.2
_LOAD_TIMEOUT_S = 3600.0
"""Loading reports nothing until it ends, and a large model comes over a network."""


class ModelGroup:
    """`world_size` actors, each with its shard. Use as a context manager; needs `ray_session`.

    A worker that dies or hangs, alone or with its node, takes the group down; the group is started anew where there is
    room and the pass that was running runs again, at most `max_restarts` times. Results do not depend on it: a pass has
    no effect but its return value.
    """

    def __init__(
        self,
        model: ModelSpec,
        group: GroupSpec | None = None,
        kind: Literal["passes", "zero2", "zero3"] = "passes",
        tell: Tell | None = None,
    ) -> None:
        """`kind`: layer-major passes over a sharded or streamed model, or training over a whole (zero2) or sharded (zero3) one;
        tell: hears a line now and then while the group waits for room, and when it is started anew."""
        self.model, self.spec, self._kind, self._tell = model, group or GroupSpec(), kind, tell
        self.n_restarts = 0
        self._workers: list[Any] = []
        self._placement: Any = None

    def __enter__(self) -> ModelGroup:
        try:
            self._start_or_retry()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def run(
        self,
        function: Callable[..., Any],
        batches: Sequence[MicroBatch],
        progress: Progress | None = None,
        **kwargs: Any,
    ) -> list[Any]:
        """Runs `function(runner, micro-batches of the rank, progress=…, **kwargs)` on every rank; results by
        rank.

        Rank r takes batches[r::world_size]; a rank without batches takes part all the same, since gathers are
        collective.

        Raises:
            ClusterError: workers failed more often than `max_restarts` allows.
            PolyneuronError: the first error for people that a rank met.
            Stopped: the study was interrupted (`polyneuron.cluster.actors.stopping`).
        """
        while True:
            try:
                return self._run_once(function, list(batches), progress, kwargs)
            except GONE as failure:
                self._close_or_give_up(failure)
                self._start_or_retry()

    def stats(self) -> list[dict[str, Any]]:
        """Per rank what its model counts (see `ShardedModel.stats`, `StreamedModel.stats`, `TrainingModel.stats`), pid, host
        and working directory."""
        found: list[dict[str, Any]] = ray.get([worker.stats.remote() for worker in self._workers])
        return found

    def reset_stats(self) -> None:
        """Starts counting anew on every rank."""
        ray.get([worker.reset_stats.remote() for worker in self._workers])

    def close(self) -> None:
        """Ends all actors; no process is left."""
        for worker in self._workers:
            ray.kill(worker)
        self._workers = []
        if self._placement is not None:
            remove_placement_group(self._placement)
            self._placement = None

    def _start(self) -> None:
        spec = self.spec
        room = Room(
            spec.world_size,
            float(spec.threads_per_worker),
            spec.gpus_per_worker,
            strict=False,
            noun=f"{spec.world_size} worker{'s' if spec.world_size > 1 else ''}",
            way_out="Lower cluster.world_size or cluster.threads_per_worker, or add nodes",
        )
        self._placement = reserve(room, self._tell)
        environment = {"PYTHONPATH": import_path(), "OMP_NUM_THREADS": str(spec.threads_per_worker)}
        if self._kind != "passes":
            # Passes give freed memory back after every layer; a training step is at its fullest before it could.
            environment["MALLOC_MMAP_THRESHOLD_"] = str(1 << 20)
        if not spec.gpus_per_worker:
            environment |= {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        remote = ray.remote(Worker)
        self._workers = [
            remote.options(
                num_cpus=room.cpus,
                num_gpus=spec.gpus_per_worker,
                max_concurrency=2,
                runtime_env={"env_vars": environment},
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    self._placement, placement_group_bundle_index=rank
                ),
            ).remote(rank, spec.world_size, spec.threads_per_worker)
            for rank in range(spec.world_size)
        ]
        self._require_one_kind()
        address, port = ray.get(self._workers[0].endpoint.remote())
        self._collect(
            "loading the model",
            [worker.load.remote(self.model, address, port, self._kind) for worker in self._workers],
            None,
            _LOAD_TIMEOUT_S,
        )

    def _run_once(
        self,
        function: Callable[..., Any],
        batches: list[MicroBatch],
        progress: Progress | None,
        kwargs: dict[str, Any],
    ) -> list[Any]:
        shared_batches, shared_kwargs = ray.put(batches), ray.put(kwargs)
        name = function.__name__
        pending = [
            worker.run.remote(name, function, shared_batches, shared_kwargs) for worker in self._workers
        ]
        return self._collect(name, pending, progress, self.spec.hang_timeout_s)

    def _collect(
        self, name: str, pending: list[Any], progress: Progress | None, timeout_s: float
    ) -> list[Any]:
        results: dict[Any, Any] = {}
        waiting, watch = list(pending), Watch(self._workers)
        while waiting:
            raise_if_stopped()
            done, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=_POLL_S)
            results |= {reference: _result(reference) for reference in done}
            if done:
                watch.advanced()
            if waiting:
                watch.look(_POLL_S)
                _, layers_done, layers = watch.states[0]
                if progress is not None and layers:
                    progress(layers_done, layers)
                if watch.idle_s > timeout_s:
                    raise Lost(f"{name}: no rank advanced for {timeout_s:g} s; {watch.where()}")
        return [results[reference] for reference in pending]

    def _require_one_kind(self) -> None:
        """Ranks wait for each other in every layer, and other devices round otherwise."""
        devices: list[tuple[str, str]] = self._collect(
            "starting the workers",
            [worker.device.remote() for worker in self._workers],
            None,
            _LOAD_TIMEOUT_S,
        )
        if len({device for device, _ in devices}) > 1:
            found = ", ".join(f"rank {rank} {device} ({host})" for rank, (device, host) in enumerate(devices))
            raise ClusterError(
                f"The workers of one model would compute on different devices: {found}. The slowest would set the pace, and "
                "the numbers would depend on who measured what. Lower cluster.world_size to what nodes of one kind hold, "
                "or give the study a cluster of one kind"
            )

    def _start_or_retry(self) -> None:
        while True:
            try:
                return self._start()
            except GONE as failure:
                self._close_or_give_up(failure)

    def _close_or_give_up(self, failure: Exception) -> None:
        reason = first_line(failure)
        self.close()
        if self.n_restarts >= self.spec.max_restarts:
            raise ClusterError(
                f"A worker failed after {self.n_restarts} restarts ({reason}). Finished units are in the store: mend "
                "the cause (memory? a lost node?) and run the same command again"
            ) from failure
        self.n_restarts += 1
        if self._tell is not None:
            self._tell(f"starting the workers anew ({reason})")


def _result(reference: Any) -> Any:
    try:
        result = ray.get(reference)
    except GONE:
        raise
    except RayTaskError as error:
        cause = f"{type(error.cause).__name__}: {error.cause}"
        if lost_peer(error.cause):
            raise Lost(cause) from error
        raise ClusterError(f"A worker failed: {cause}") from error
    except RayError as error:
        raise ClusterError(f"Ray failed: {first_line(error)}") from error
    if isinstance(result, PolyneuronError):
        raise result
    return result
