"""A group of Ray actors that share one model under ZeRO-3, with restarts: the door through which stages do
model work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from cluster.session import import_path
from cluster.spec import GroupSpec, ModelSpec
from cluster.worker import Worker
from neuron_core.batches import MicroBatch
from neuron_core.errors import ClusterError, PolyneuronError

Progress = Callable[[int, int], None]
_POLL_S = 0.2
_PLACEMENT_TIMEOUT_S = 120.0
_LOAD_TIMEOUT_S = 3600.0
"""Loading reports nothing until it ends, and a large model comes over a network."""
_LOST_PEER = (
    "Connection closed by peer",
    "Connection reset by peer",
    "NCCL",
    "DistBackendError",
    "Broken pipe",
)
"""How gloo and NCCL say that another rank is gone; the survivors often fail before Ray reports the death."""


class ModelGroup:
    """`world_size` actors, each with its shard. Use as a context manager; needs `ray_session`.

    A worker that dies or hangs takes the group down; the group is started anew and the pass that was running
    runs again, at most `max_restarts` times. Results do not depend on it: a pass has no effect but its return
    value.
    """

    def __init__(
        self,
        model: ModelSpec,
        group: GroupSpec | None = None,
        kind: Literal["passes", "zero2", "zero3"] = "passes",
    ) -> None:
        """`kind`: layer-major passes over a sharded model, or training over a whole (zero2) or sharded (zero3) one."""
        self.model, self.spec, self._kind = model, group or GroupSpec(), kind
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
        """
        while True:
            try:
                return self._run_once(function, list(batches), progress, kwargs)
            except (RayActorError, _Lost) as failure:
                self._close_or_give_up(failure)
                self._start_or_retry()

    def stats(self) -> list[dict[str, Any]]:
        """Per rank: bytes received, gathers, bytes of the model, peak resident bytes, pid, host."""
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
        bundle = {"CPU": float(spec.threads_per_worker)} | (
            {"GPU": spec.gpus_per_worker} if spec.gpus_per_worker else {}
        )
        self._placement = placement_group([bundle] * spec.world_size, strategy="PACK")
        if not self._placement.wait(_PLACEMENT_TIMEOUT_S):
            raise ClusterError(
                f"The cluster has no room for {spec.world_size} workers of {bundle} beside what runs: of its "
                f"{_devices(ray.cluster_resources())}, {_devices(ray.available_resources())} are free. "
                "Lower cluster.world_size or cluster.threads_per_worker, or add nodes"
            )
        environment = {"PYTHONPATH": import_path(), "OMP_NUM_THREADS": str(spec.threads_per_worker)}
        # Else glibc raises the bound by itself, and keeps what is freed below it: hundreds of MiB.
        environment["MALLOC_MMAP_THRESHOLD_"] = str(4 << 20)
        if not spec.gpus_per_worker:
            environment["DS_ACCELERATOR"] = "cpu"
        remote = ray.remote(Worker)
        self._workers = [
            remote.options(
                num_cpus=bundle["CPU"],
                num_gpus=spec.gpus_per_worker,
                max_concurrency=2,
                runtime_env={"env_vars": environment},
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    self._placement, placement_group_bundle_index=rank
                ),
            ).remote(rank, spec.world_size, spec.threads_per_worker)
            for rank in range(spec.world_size)
        ]
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
        waiting, before, since = list(pending), None, time.monotonic()
        while waiting:
            done, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=_POLL_S)
            for reference in done:
                _raise_if_failed(reference)
            states = self._states() if waiting else None
            if states is not None and progress is not None and states[0][2]:
                progress(states[0][1], states[0][2])
            if states != before or done:
                before, since = states, time.monotonic()
            elif time.monotonic() - since > timeout_s:
                raise _Lost(f"{name}: no rank advanced for {timeout_s:g} s; " + _where(states))
        results: list[Any] = ray.get(pending)
        return results

    def _states(self) -> list[tuple[str, int, int]] | None:
        references = [worker.state.remote() for worker in self._workers]
        done, _ = ray.wait(references, num_returns=len(references), timeout=_POLL_S)
        return ray.get(references) if len(done) == len(references) else None

    def _start_or_retry(self) -> None:
        while True:
            try:
                return self._start()
            except (RayActorError, _Lost) as failure:
                self._close_or_give_up(failure)

    def _close_or_give_up(self, failure: Exception) -> None:
        reason = str(failure).strip().split("\n")[0]
        self.close()
        if self.n_restarts >= self.spec.max_restarts:
            raise ClusterError(
                f"A worker failed after {self.n_restarts} restarts ({reason}). Finished units are in the store: mend "
                "the cause (memory? a lost node?) and run the same command again"
            ) from failure
        self.n_restarts += 1


def _devices(resources: dict[str, float]) -> str:
    return f"{resources.get('CPU', 0):g} CPU and {resources.get('GPU', 0):g} GPU"


class _Lost(Exception):
    """No rank advanced for too long, or a rank lost its peer. Starting anew may help."""


def _where(states: list[tuple[str, int, int]] | None) -> str:
    if states is None:
        return "a worker does not answer"
    return ", ".join(
        f"rank {rank} in {name} after layer {done} of {total}"
        for rank, (name, done, total) in enumerate(states)
    )


def _raise_if_failed(reference: Any) -> None:
    try:
        result = ray.get(reference)
    except RayActorError:
        raise
    except RayTaskError as error:
        cause = f"{type(error.cause).__name__}: {error.cause}"
        if any(sign in cause for sign in _LOST_PEER):
            raise _Lost(cause) from error
        raise ClusterError(f"A worker failed: {cause}") from error
    except RayError as error:
        raise ClusterError(f"Ray failed: {error}") from error
    if isinstance(result, PolyneuronError):
        raise result
