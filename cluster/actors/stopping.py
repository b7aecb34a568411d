"""One switch that ends what all threads of a study wait for: Ctrl-C reaches the main thread only."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from polyneuron.cluster.actors.vigil import raise_if_lost

_stopped = threading.Event()


class Stopped(BaseException):
    """The study was interrupted while this thread worked; not an error of the model it worked on."""


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """Yields the switch, off; setting it makes every wait on the cluster raise `Stopped`. It is off again afterwards."""
    _stopped.clear()
    try:
        yield _stopped
    finally:
        _stopped.clear()


def raise_if_stopped() -> None:
    """Raises Stopped when the switch is on, and ClusterError when the local Ray is lost."""
    if _stopped.is_set():
        raise Stopped
    raise_if_lost()
