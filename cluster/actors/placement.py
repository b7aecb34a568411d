"""Room on the cluster: what runs together is reserved together, waits while others hold the room, and is refused where it
could never run."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray.util.placement_group import placement_group, remove_placement_group

from polyneuron.cluster.actors.stopping import raise_if_stopped
from polyneuron.neuron_core.common.errors import ClusterError

Tell = Callable[[str], None]
_POLL_S = 1.0
_GROWTH_S = 120.0
"""How long a cluster may take to grow or to bring a lost node back. A local session cannot."""
_TELL_AFTER_S, _TELL_EVERY_S = 5.0, 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """Equal bundles of cores and devices, and how messages speak of them."""

    count: int
    """Bundles."""
    cpus: float
    """Cores of one."""
    gpus: float
    """GPUs of one."""
    strict: bool
    """Whether all must be on one node; else they are on as few as there is room for."""
    noun: str
    """What they are for."""
    way_out: str
    """What to do where they do not fit."""

    def on(self, cpus: float, gpus: float) -> int:
        """Returns how many bundles an empty node of that size holds; two halves of a GPU are halves of the same one."""
        by_gpu = self.count
        if self.gpus:
            by_gpu = int(gpus) * int(1 / self.gpus) if self.gpus < 1 else int(gpus / self.gpus)
        return min(self.count, by_gpu, int(cpus / self.cpus) if self.cpus else self.count)

    def fits(self, nodes: Sequence[tuple[float, float]]) -> bool:
        """Says whether nodes of these (cores, GPUs) hold all bundles when nothing else runs."""
        held = [self.on(*node) for node in nodes]
        return (max(held, default=0) if self.strict else sum(held)) >= self.count

    @property
    def words(self) -> str:
        """Says what is needed, for messages."""
        each = _words(self.cpus, self.gpus)
        needed = f"{self.noun} of {each} each" if self.count > 1 else f"{self.noun} of {each}"
        return f"{needed} on one node" if self.strict else needed


def reserve(room: Room, tell: Tell | None = None) -> Any:
    """Returns a placement group with the room; waits as long as the nodes would hold it but others use them, and says so.
    Raises ClusterError when no set of nodes that are up holds it (after a wait for new ones, where a cluster may grow)."""
    bundle = {"CPU": room.cpus} | ({"GPU": room.gpus} if room.gpus else {})
    patience_s = _GROWTH_S if os.environ.get("RAY_ADDRESS") else 0.0
    began = fitted = time.monotonic()
    told = began + _TELL_AFTER_S - _TELL_EVERY_S
    strategy: Literal["STRICT_PACK", "PACK"] = "STRICT_PACK" if room.strict else "PACK"
    group = placement_group([bundle] * room.count, strategy=strategy)
    try:
        while not group.wait(_POLL_S):
            raise_if_stopped()
            now, resources = time.monotonic(), [node["Resources"] for node in ray.nodes() if node["Alive"]]
            nodes = [(found.get("CPU", 0.0), found.get("GPU", 0.0)) for found in resources]
            if room.fits(nodes):
                fitted = now
            elif now - fitted >= patience_s:
                raise ClusterError(
                    f"The cluster has no room for {room.words}: its nodes have {_listed(nodes)}. {room.way_out}"
                )
            if tell is not None and now - told >= _TELL_EVERY_S:
                told = now
                free = ray.available_resources()
                tell(
                    f"waiting for room for {room.words}: {_words(free.get('CPU', 0), free.get('GPU', 0))} free "
                    f"on nodes of {_listed(nodes)}"
                )
    except BaseException:
        remove_placement_group(group)
        raise
    return group


def _listed(nodes: Sequence[tuple[float, float]]) -> str:
    kinds = {node: nodes.count(node) for node in nodes}
    parts = [f"{count} x {_words(*node)}" if count > 1 else _words(*node) for node, count in kinds.items()]
    return "; ".join(parts) or "nothing"


def _words(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPU and {gpus:g} GPU"
