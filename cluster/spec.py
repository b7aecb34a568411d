"""What a worker group is made of: which model, sharded over how many workers, on what devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Offload = Literal["none", "cpu", "nvme"]


@dataclass(frozen=True)
class ModelSpec:
    """The model every worker loads its shard of.

    source: hub id or local folder (GGUF already dequantised); dtype: "float32" or "bfloat16"; offload:
        where parameter shards rest between gathers ("nvme" needs `nvme_path`).
    """

    source: str
    dtype: str = "float32"
    revision: str | None = None
    trust_remote_code: bool = False
    offload: Offload = "none"
    nvme_path: str | None = None

    def deepspeed_config(self) -> dict[str, Any]:
        """The ZeRO-3 part of DeepSpeed's configuration: parameters sharded, nothing kept whole between
        gathers.
        """
        zero = {"stage": 3, "stage3_param_persistence_threshold": 0} | self.offload_config()
        return {
            "train_micro_batch_size_per_gpu": 1,
            "zero_optimization": zero,
            "bf16": {"enabled": self.dtype == "bfloat16"},
        }

    def offload_config(self) -> dict[str, Any]:
        """Where DeepSpeed keeps the shards, when not on the device that computes."""
        if self.offload == "none":
            return {}
        place: dict[str, Any] = {"device": self.offload, "pin_memory": False}
        if self.nvme_path is not None:
            place["nvme_path"] = self.nvme_path
        return {"offload_param": place}


@dataclass(frozen=True)
class GroupSpec:
    """How many workers share the model, and what each may use. world_size 1 is no special case."""

    world_size: int = 1
    threads_per_worker: int = 1
    gpus_per_worker: float = 0
    max_restarts: int = 2
    hang_timeout_s: float = 600.0
