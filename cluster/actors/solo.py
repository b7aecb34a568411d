"""One supervised Ray actor that owns something costly, such as an inference engine, and is started anew when it
dies."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.placement_group import remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from polyneuron.cluster.actors.failures import GONE, first_line
from polyneuron.cluster.actors.placement import Room, Tell, reserve
from polyneuron.cluster.actors.session import import_path
from polyneuron.cluster.actors.stopping import raise_if_stopped
from polyneuron.neuron_core.common.errors import ClusterError, PolyneuronError

_POLL_S = 0.5


class SoloActor:
    """An actor of a plain class. A call that dies with its actor is made again on a new one; calls must have no
    effect but their return value. Use as a context manager; needs `ray_session`.

    All cores and GPUs come from one node, so that the ranks of a tensor-parallel engine inside it share one. way_out: what
    the message about a cluster without room for it says to do; tell: hears a line now and then while it waits for room.
    """

    def __init__(
        self,
        owned: type,
        arguments: tuple[Any, ...],
        cpus: int = 1,
        gpus: float = 0,
        max_restarts: int = 2,
        hang_timeout_s: float = 3600,
        way_out: str = "Add nodes",
        tell: Tell | None = None,
    ) -> None:
        self._owned, self._arguments = owned, arguments
        environment = {"PYTHONPATH": import_path(), "OMP_NUM_THREADS": str(cpus)}
        if not gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        self._options: dict[str, Any] = {
            "num_cpus": cpus,
            "num_gpus": gpus,
            "runtime_env": {"env_vars": environment},
        }
        self._room = Room(1, float(cpus), gpus, strict=True, noun=owned.__name__, way_out=way_out)
        self._max_restarts, self._hang_timeout_s, self._tell = max_restarts, hang_timeout_s, tell
        self._actor: Any = None
        self._placement: Any = None
        self.n_restarts = 0

    def __enter__(self) -> SoloActor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the owned object, starting the actor at first use.

        Raises:
            ClusterError: no room for the actor, a hang, or more deaths than `max_restarts`.
            PolyneuronError: what the method, or the start, raised.
        """
        while True:
            try:
                if self._actor is None:
                    self._start()
                return self._wait(self._actor.call.remote(method, arguments), method)
            except GONE as failure:
                self._count(failure)

    def close(self) -> None:
        """Ends the actor; no process of it is left."""
        if self._actor is not None:
            ray.kill(self._actor)
            self._actor = None
        if self._placement is not None:
            remove_placement_group(self._placement)
            self._placement = None

    def _start(self) -> None:
        self._placement = reserve(self._room, self._tell)
        where = PlacementGroupSchedulingStrategy(self._placement)
        self._actor = (
            ray.remote(_Shell)
            .options(**self._options, scheduling_strategy=where)
            .remote(self._owned, self._arguments)
        )
        try:
            self._wait(self._actor.ready.remote(), f"starting {self._owned.__name__}")
        except PolyneuronError:
            self.close()
            raise

    def _wait(self, reference: Any, what: str) -> Any:
        deadline = time.monotonic() + self._hang_timeout_s
        while not ray.wait([reference], timeout=_POLL_S)[0]:
            raise_if_stopped()
            if time.monotonic() > deadline:
                self.close()
                raise ClusterError(f"{what} has not answered for {self._hang_timeout_s:g} s and was ended")
        try:
            return ray.get(reference)
        except GONE:
            raise
        except RayTaskError as error:
            if isinstance(error.cause, PolyneuronError):
                raise error.cause from None
            raise ClusterError(f"{what} failed: {type(error.cause).__name__}: {error.cause}") from error
        except RayError as error:
            raise ClusterError(f"Ray failed during {what}: {first_line(error)}") from error

    def _count(self, failure: Exception) -> None:
        self.close()
        self.n_restarts += 1
        if self.n_restarts > self._max_restarts:
            reason = first_line(failure)
            raise ClusterError(
                f"The actor of {self._owned.__name__} died {self.n_restarts} times ({reason}). Finished units are in the "
                "store: mend the cause (memory?) and run the same command again"
            ) from failure
        time.sleep(_POLL_S)


class _Shell:
    """The actor: makes the owned object when asked, so that its errors reach the caller as they are."""

    def __init__(self, owned: type, arguments: tuple[Any, ...]) -> None:
        self._make = owned, arguments
        self._object: Any = None

    def ready(self) -> None:
        """Makes the owned object."""
        owned, arguments = self._make
        self._object = owned(*arguments)

    def call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """One of its methods."""
        return getattr(self._object, method)(*arguments)
