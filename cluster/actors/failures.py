"""Which of Ray's errors say that a machine, a process or an object went away, so that starting anew may help."""

from __future__ import annotations

from ray.exceptions import (
    ActorUnschedulableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    WorkerCrashedError,
)


class Lost(Exception):
    """No rank advanced for too long, or a rank lost its peer. Starting anew may help."""


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


def lost_peer(error: BaseException) -> bool:
    """Whether a worker's error says that another rank is gone."""
    return any(sign in f"{type(error).__name__}: {error}" for sign in _LOST_PEER)


def first_line(error: BaseException) -> str:
    """What a message quotes of an error."""
    return str(error).strip().split("\n")[0]
