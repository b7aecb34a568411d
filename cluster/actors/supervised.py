"""Actors in reserved room that are started anew when they are lost: what a group of workers and a single actor share, and
what becomes of a call to one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import ray
from ray.exceptions import (
    ActorUnschedulableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.util.placement_group import remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from polyneuron.cluster.actors.placement import Room, Tell, reserve
from polyneuron.cluster.actors.session import import_path
from polyneuron.cluster.actors.vigil import is_lost, raise_if_lost
from polyneuron.neuron_core.common.errors import ClusterError, PolyneuronError

Result = TypeVar("Result")


class Lost(Exception):
    """No rank advanced for too long, a rank lost its peer, or an actor a process of its own. Starting anew may help."""


GONE = (
    RayActorError,
    ActorUnschedulableError,
    NodeDiedError,
    WorkerCrashedError,
    OutOfMemoryError,
    ObjectLostError,
    Lost,
)
"""A process (also one that Ray ended because its node ran short of memory), its node, or an object that lay there. Inputs
are put into the object store again for every attempt."""

_LOST_PEER = (
    "Connection closed by peer",
    "Connection reset by peer",
    "NCCL",
    "DistBackendError",
    "DistNetworkError",
    "DistStoreError",
    "connectFullMesh",
    "Broken pipe",
    "Address already in use",
)
"""How gloo, NCCL and torch's rendezvous say that another rank is gone (the survivors often fail before Ray reports the
death), or that the port was taken before rank 0 listened there."""


class Supervised:
    """Starts actors, ends them, and counts how often they were lost; closed when its context ends."""

    def __init__(self, who: str, room: Room, max_restarts: int, tell: Tell | None) -> None:
        """who: what messages call the actors; room: a bundle for each; tell: hears a line now and then while room is waited
        for, and at every restart."""
        self._who, self._room, self._max_restarts, self._tell = who, room, max_restarts, tell
        self._actors: list[Any] = []
        self._placement: Any = None
        self.n_restarts = 0

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all actors; no process of them is left. Where Ray itself is lost, its session does that."""
        actors, placement = self._actors, self._placement
        self._actors, self._placement = [], None
        if is_lost():
            return
        for actor in actors:
            ray.kill(actor)
        if placement is not None:
            remove_placement_group(placement)

    def _start(self) -> None:
        """Launches the actors and makes them ready for work."""
        raise NotImplementedError

    def _ensure_started(self) -> None:
        """Starts the actors where there are none; none is left when that fails."""
        if self._actors:
            return
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _supervised(self, work: Callable[[], Result]) -> Result:
        """Returns what `work` does with actors that are started; both are done again when actors are lost. Raises ClusterError
        when they were lost more often than they may be, or Ray itself is."""
        while True:
            try:
                raise_if_lost()
                self._ensure_started()
                return work()
            except Exception as failure:
                raise_if_lost(failure)
                if not isinstance(failure, GONE):
                    raise
                reason = first_line(failure)
                self.close()
                if self.n_restarts >= self._max_restarts:
                    raise ClusterError(
                        f"Lost {self._who} {self.n_restarts + 1} times ({reason}). Finished units are in the store: mend the "
                        "cause (memory? a lost node?) and run the same command again"
                    ) from failure
                self.n_restarts += 1
                if self._tell is not None:
                    self._tell(f"starting {self._who} anew ({reason})")

    def _launch(
        self,
        owned: type,
        arguments: Sequence[tuple[Any, ...]],
        environment: Mapping[str, str],
        concurrency: int,
    ) -> None:
        """Reserves the room, and makes an `owned` of each of `arguments` in a bundle of it; concurrency: how many calls one
        answers at once."""
        room = self._room
        self._placement = reserve(room, self._tell)
        variables = {"PYTHONPATH": import_path(), "OMP_NUM_THREADS": f"{room.cpus:g}", **environment}
        if not room.gpus:
            variables["CUDA_VISIBLE_DEVICES"] = ""
        self._actors = [
            ray.remote(owned)
            .options(
                num_cpus=room.cpus,
                num_gpus=room.gpus,
                max_concurrency=concurrency,
                runtime_env={"env_vars": variables},
                scheduling_strategy=PlacementGroupSchedulingStrategy(self._placement, index),
            )
            .remote(*of_one)
            for index, of_one in enumerate(arguments)
        ]


def answer(reference: Any, who: str, has_peers: bool = False) -> Any:
    """Returns the value of a call that has ended. has_peers: whether other ranks may be the cause of an error.

    Raises:
        GONE: one of these errors, where starting anew may help.
        PolyneuronError: what the call raised for people.
        ClusterError: Ray is lost, or the call or Ray failed otherwise.
    """
    raise_if_lost()  # without a raylet, Ray would end this process
    try:
        return ray.get(reference)
    except GONE as error:
        if isinstance(error, RayTaskError):  # Ray gives what a task raised the class of its cause, too
            raise error.cause from None
        raise
    except RayTaskError as error:
        if isinstance(error.cause, PolyneuronError):
            raise error.cause from None
        cause = f"{type(error.cause).__name__}: {error.cause}"
        if has_peers and any(sign in cause for sign in _LOST_PEER):
            raise Lost(cause) from error
        raise ClusterError(f"{who} failed: {cause}") from error
    except RayError as error:
        raise ClusterError(f"{who} failed in Ray: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Returns what a message quotes of an error."""
    return str(error).strip().split("\n")[0]
