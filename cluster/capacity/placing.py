"""How a group of ranks holds a model: the same settings as `cluster.*` of a configuration, and what they mean in bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from polyneuron.cluster.capacity.memory import GIB, MIB, Phase, phase
from polyneuron.cluster.capacity.shape import ModelShape
from polyneuron.cluster.spec import Offload, Weights

LIBRARIES_CPU = 630 * MIB
"""Resident memory of a worker without a model: Python, Ray, torch, transformers, DeepSpeed, gloo, and what malloc keeps."""
LIBRARIES_HOST = 4 * GIB
"""The same where torch drives a GPU (assumed)."""
LIBRARIES_DEVICE = int(1.5 * GIB)
"""CUDA context, NCCL buffers and workspaces of a rank on its GPU (assumed)."""


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
        """Returns what parameters made whole take; largest_bytes: of the largest tensor among them.

        One rank that holds its shard where it computes has them whole already; DeepSpeed copies a `single` tensor all the
        same. gloo, on CPUs, stages every tensor in a second buffer; of those on their way at once the largest is counted.
        """
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
