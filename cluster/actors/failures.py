"""What becomes of a call to an actor: its value, an error for people, or news that a machine, a process or an object went
away, so that starting anew may help."""

from __future__ import annotations

from typing import Any

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

from polyneuron.neuron_core.common.errors import ClusterError, PolyneuronError


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


def answer(reference: Any, who: str, has_peers: bool = False) -> Any:
    """Returns the value of a call that has ended. has_peers: whether other ranks may be the cause of an error.

    Raises:
        GONE: one of these errors, where starting anew may help.
        PolyneuronError: what the call raised for people.
        ClusterError: the call, or Ray, failed otherwise.
    """
    try:
        return ray.get(reference)
    except GONE:
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
