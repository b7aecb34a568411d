"""How a group of ranks holds a model: the same settings as `cluster.*` of a configuration, and what they mean in bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from polyneuron.cluster.capacity.memory import GIB, MIB
from polyneuron.cluster.capacity.shape import ModelShape

LIBRARIES_CPU = 580 * MIB
"""Resident memory of a worker before it loads a model: Python, Ray, torch, transformers, DeepSpeed, gloo."""
KEPT_CPU = 50 * MIB
"""What the allocator keeps of freed memory once something has run on a CPU."""
LIBRARIES_HOST = 4 * GIB
"""The same where torch drives a GPU (assumed)."""
LIBRARIES_DEVICE = int(1.5 * GIB)
"""CUDA context, NCCL buffers and workspaces of a rank on its GPU (assumed)."""


@dataclass(frozen=True)
class Placing:
    """world_size: ranks that share a model; ranks_per_node; weights: "shard" (ZeRO-3) or "stream" (each rank reads a layer at a
    time from files); offload: where shards rest; hidden_states_bytes: budget for hidden states in host memory, a rank."""

    world_size: int
    ranks_per_node: int
    on_gpu: bool
    offload: Literal["none", "cpu"] = "none"
    weights: Literal["shard", "stream"] = "shard"
    hidden_states_bytes: int = 8 * GIB

    def share(self, n: int) -> int:
        """The largest part of n things dealt to the ranks."""
        return -(-n // self.world_size)


def libraries(placing: Placing) -> tuple[dict[str, int], dict[str, int]]:
    """(where the rank computes, in its node's memory)."""
    if placing.on_gpu:
        return {"libraries": LIBRARIES_DEVICE}, {"libraries": LIBRARIES_HOST}
    return {"libraries": LIBRARIES_CPU}, {}


def working(placing: Placing) -> tuple[dict[str, int], dict[str, int]]:
    """As `libraries`, of a rank that has run something."""
    near, far = libraries(placing)
    return near | ({} if placing.on_gpu else {"kept by malloc": KEPT_CPU}), far


def parameters(shape: ModelShape, placing: Placing) -> tuple[dict[str, int], dict[str, int]]:
    """The rank's shard between gathers: (where it computes, in its node's memory). Nothing when layers are streamed."""
    if placing.weights == "stream":
        return {}, {}
    shard = {"shard": placing.share(shape.model_bytes)}
    return ({}, shard) if placing.on_gpu and placing.offload == "cpu" else (shard, {})


def gathered(
    n_bytes: int, largest_bytes: int, what: str, placing: Placing, single: bool = False
) -> dict[str, int]:
    """Parameters made whole: of a layer, of the embedding, or of the head; largest_bytes: of the largest tensor among them.

    One rank that holds its shard where it computes has them whole already; DeepSpeed copies a `single` tensor all the same.
    gloo, on CPUs, stages every tensor in a second buffer; of those on their way at once the largest is counted.
    """
    if placing.weights == "stream":
        return {what: n_bytes}
    if placing.world_size == 1 and not single and not (placing.on_gpu and placing.offload != "none"):
        return {}
    return {what: n_bytes, "gather staging": 0 if placing.on_gpu else largest_bytes}


def made_whole(shape: ModelShape, with_head: bool) -> int:
    """Bytes that one pass makes whole: the embedding, every layer once, and at the end the head where it is asked for."""
    inside = shape.model_bytes - shape.outside_bytes
    return inside + shape.before_bytes + (shape.after_bytes if with_head else 0)


def received(shape: ModelShape, placing: Placing, n_passes: int, with_head: bool) -> int:
    """Bytes a rank receives from the others in `n_passes` passes."""
    if placing.weights == "stream":
        return 0
    whole = n_passes * made_whole(shape, with_head)
    return whole * (placing.world_size - 1) // placing.world_size


def read(shape: ModelShape, placing: Placing, n_passes: int, with_head: bool) -> int:
    """Bytes one node reads from files: each shard once while loading, or every pass by every rank when streaming."""
    if placing.weights == "shard":
        return shape.model_bytes
    return placing.ranks_per_node * n_passes * made_whole(shape, with_head)
