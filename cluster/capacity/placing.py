"""How a group of ranks holds a model: the same settings as `cluster.*` of a configuration, and what they mean in bytes."""

from collections.abc import Mapping
from dataclasses import dataclass

from polyneuron.cluster.capacity.shape import ModelShape
from polyneuron.cluster.memory import GIB, MIB
from polyneuron.cluster.spec import Offload, Weights

LIBRARIES_CPU = 630 * MIB
"""Resident memory of a worker without a model: Python, Ray, torch, transformers, DeepSpeed, gloo, and what malloc keeps."""
LIBRARIES_HOST = 4 * GIB
"""The same where torch drives a GPU (assumed)."""
LIBRARIES_DEVICE = int(1.5 * GIB)
"""CUDA context, NCCL buffers and workspaces of a rank on its GPU (assumed)."""


@dataclass(frozen=True)
class Phase:
    """What is held at the same time. device: bytes on the device that computes; host: bytes in the memory of its node; each
    by name. A rank on a CPU has everything in host."""

    name: str
    device: dict[str, int]
    host: dict[str, int]

    @property
    def device_bytes(self) -> int:
        """Bytes on the device, together."""
        return sum(self.device.values())

    @property
    def host_bytes(self) -> int:
        """Bytes in host memory, together."""
        return sum(self.host.values())


def phase(name: str, on_gpu: bool, computing: dict[str, int], waiting: dict[str, int]) -> Phase:
    """A phase of a rank: `computing` lies where it computes, `waiting` in host memory in any case. Zeros are left out."""
    computing = {key: value for key, value in computing.items() if value}
    waiting = {key: value for key, value in waiting.items() if value}
    return Phase(name, computing, waiting) if on_gpu else Phase(name, {}, computing | waiting)


def fullest(phases: tuple[Phase, ...], on_gpu: bool) -> Phase:
    """The phase with the highest peak where the rank computes."""
    return max(phases, key=lambda one: one.device_bytes if on_gpu else one.host_bytes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Placing:
    """A model, and the ranks that hold it together."""

    shape: ModelShape
    """The model."""
    world_size: int = 1
    """Ranks that share it."""
    ranks_per_node: int = 1
    """Of these ranks."""
    on_gpu: bool = False
    """Whether a rank computes on a GPU."""
    offload: Offload = "none"
    """Where shards rest."""
    weights: Weights = "shard"
    """ZeRO-3, or each rank reads a layer at a time from files."""
    hidden_states_bytes: int = 8 * GIB
    """Budget of a rank for hidden states in host memory."""

    def share(self, n: int) -> int:
        """Returns the largest part of n things dealt to the ranks."""
        return -(-n // self.world_size)

    @property
    def offloads(self) -> bool:
        """Whether shards rest elsewhere than where the rank computes."""
        return self.on_gpu and self.offload != "none"

    def phase(
        self, name: str, near: Mapping[str, int], far: Mapping[str, int], *, whole_model: bool = False
    ) -> Phase:
        """Returns a phase of a rank with `near` where it computes and `far` in its node's memory, beside libraries and the
        rank's shard (nothing when layers are streamed) or the whole model."""
        computing = {"libraries": LIBRARIES_DEVICE if self.on_gpu else LIBRARIES_CPU}
        waiting = {"libraries": LIBRARIES_HOST} if self.on_gpu else {}
        shard = {} if self.weights == "stream" else {"shard": self.share(self.shape.model_bytes)}
        if whole_model:
            computing |= {"whole model": self.shape.model_bytes}
        elif self.offloads:
            waiting |= shard
        else:
            computing |= shard
        return phase(name, self.on_gpu, computing | dict(near), waiting | dict(far))

    def whole(self, what: str, n_bytes: int, largest_bytes: int, single: bool = False) -> dict[str, int]:
        """Returns what parameters made whole take; largest_bytes: of the largest tensor among them. One rank that holds its
        shard where it computes has them whole already; DeepSpeed copies a `single` tensor all the same. gloo, on CPUs, stages
        every tensor in a second buffer; of those on their way at once the largest is counted."""
        if self.weights == "stream":
            return {what: n_bytes}
        if self.world_size == 1 and not single and not self.offloads:
            return {}
        return {what: n_bytes, "gather staging": 0 if self.on_gpu else largest_bytes}

    def made_whole(self, with_head: bool) -> int:
        """Returns the bytes that one pass makes whole: the embedding, every layer once, and at the end perhaps the head."""
        shape = self.shape
        inside = shape.model_bytes - shape.outside_bytes
        return inside + shape.before_bytes + (shape.after_bytes if with_head else 0)

    def received(self, n_passes: int, with_head: bool) -> int:
        """Returns the bytes a rank receives from the others in `n_passes` passes."""
        whole = 0 if self.weights == "stream" else n_passes * self.made_whole(with_head)
        return whole * (self.world_size - 1) // self.world_size

    def read(self, n_passes: int, with_head: bool) -> int:
        """Returns the bytes one node reads from files: each shard once while loading, or every pass by every rank."""
        if self.weights == "shard":
            return self.shape.model_bytes
        return self.ranks_per_node * n_passes * self.made_whole(with_head)
