"""What a worker group is made of: which model, sharded over how many workers, on what devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Offload = Literal["none", "cpu"]
Weights = Literal["shard", "stream"]


@dataclass(frozen=True)
class ModelSpec:
    """The model that the workers share.

    source: hub id or local folder (GGUF already dequantised); dtype: "float32" or "bfloat16"; offload:
        where parameter shards rest between gathers; weights: for passes, "shard" (each worker holds its share) or
        "stream" (nobody holds them, each worker reads layer after layer from the files); hidden_states_gib: memory
        (GiB) per worker for what waits between layers, the rest lies in a temporary file; nf4: for training
        under ZeRO-2, the frozen base in 4 bits.
    """

    source: str
    dtype: str = "float32"
    revision: str | None = None
    trust_remote_code: bool = False
    offload: Offload = "none"
    weights: Weights = "shard"
    hidden_states_gib: float = 8.0
    nf4: bool = False

    @property
    def hidden_bytes(self) -> int:
        """`hidden_states_gib` in bytes."""
        return int(self.hidden_states_gib * 2**30)

    def deepspeed_config(self) -> dict[str, Any]:
        """The ZeRO-3 part of DeepSpeed's configuration: parameters sharded, nothing kept whole between
        gathers.
        """
        zero = {
            "stage": 3,
            "stage3_param_persistence_threshold": 0,
            "memory_efficient_linear": False,  # would replace torch's linear for good
        } | self.offload_config()
        return {
            "train_micro_batch_size_per_gpu": 1,
            "zero_optimization": zero,
            "bf16": {"enabled": self.dtype == "bfloat16"},
        }

    def offload_config(self) -> dict[str, Any]:
        """Where DeepSpeed keeps the shards, when not on the device that computes."""
        if self.offload == "none":
            return {}
        return {"offload_param": {"device": self.offload, "pin_memory": False}}


@dataclass(frozen=True)
class GroupSpec:
    """How many workers share the model, and what each may use. world_size 1 is no special case."""

    world_size: int = 1
    threads_per_worker: int = 1
    gpus_per_worker: float = 0
    max_restarts: int = 2
    hang_timeout_s: float = 600.0
