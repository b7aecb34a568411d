"""One supervised Ray actor that owns something costly, such as an inference engine."""

import time
from typing import Any, Protocol, Self, runtime_checkable

import ray

from polyneuron.cluster.actors.placement import Room, Tell
from polyneuron.cluster.actors.stopping import raise_if_stopped
from polyneuron.cluster.actors.supervised import Lost, Supervised, answer, first_line
from polyneuron.neuron_core.common.errors import ClusterError

_POLL_S = 0.5
_HANG_S = 3600.0


class SoloActor(Supervised):
    """An actor of a plain class. A call that dies with its actor is made again on a new one; calls must have no effect but
    their return value. Use as a context manager; needs `ray_session`. All cores and GPUs come from one node, so that the ranks
    of a tensor-parallel engine inside it share one. way_out: what the message about a cluster without room for it says to do;
    tell: hears a line now and then while it waits for room."""

    def __init__(
        self,
        owned: type,
        arguments: tuple[Any, ...],
        *,
        cpus: int = 1,
        gpus: float = 0,
        max_restarts: int = 2,
        way_out: str = "Add nodes",
        tell: Tell | None = None,
    ) -> None:
        name = owned.__name__
        room = Room(count=1, cpus=float(cpus), gpus=gpus, strict=True, noun=name, way_out=way_out)
        super().__init__(name, room, max_restarts, tell)
        self._owned, self._arguments = owned, arguments

    def __enter__(self) -> Self:
        return self

    def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the owned object and returns its value, starting the actor at first use.

        Raises:
            ClusterError: no room for the actor, a hang, or more deaths than `max_restarts`.
            PolyneuronError: what the method, or the start, raised.
        """
        return self._supervised(lambda: self._wait(self._actors[0].call.remote(method, arguments), method))

    def _start(self) -> None:
        self._launch(_Shell, [(self._owned, self._arguments)], {}, concurrency=1)
        self._wait(self._actors[0].ready.remote(), f"starting {self._owned.__name__}")

    def _wait(self, reference: Any, what: str) -> Any:
        deadline = time.monotonic() + _HANG_S
        while not ray.wait([reference], timeout=_POLL_S)[0]:
            raise_if_stopped()
            if time.monotonic() > deadline:
                self.close()
                raise ClusterError(f"{what} has not answered for {_HANG_S:g} s and was ended")
        return answer(reference, what)


@runtime_checkable
class Mortal(Protocol):
    """An owned object that is of no use any more once a process has ended that it started."""

    def lives(self) -> bool:
        """Whether it can still work."""
        ...


class _Shell:
    """The actor: makes the owned object when asked, so that its errors reach the caller as they are."""

    def __init__(self, owned: type, arguments: tuple[Any, ...]) -> None:
        self._make = owned, arguments
        self._object: Any = None

    def ready(self) -> None:
        owned, arguments = self._make
        self._object = owned(*arguments)

    def call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        try:
            return getattr(self._object, method)(*arguments)
        except Exception as error:
            if isinstance(self._object, Mortal) and not self._object.lives():
                raise Lost(f"a process of it has ended: {first_line(error)}") from error
            raise
