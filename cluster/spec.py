"""What a worker group is made of: which model, sharded over how many workers, on what devices."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Offload = Literal["none", "cpu"]
Weights = Literal["shard", "stream"]


class Seat(NamedTuple):
    """The place of one rank in its group, which meets at address:port."""

    rank: int
    world_size: int
    address: str
    port: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """The model that the workers share."""

    source: str
    """Hub id or local folder; GGUF files are dequantised before."""
    dtype: str = "float32"
    """float32 or bfloat16."""
    revision: str | None = None
    """Of the hub; None: the newest."""
    trust_remote_code: bool = False
    """Whether code that comes with the model may run."""
    fingerprint: str | None = None
    """What `model_fingerprint` gave the driver; workers that find other files are refused. None: not compared."""
    offload: Offload = "none"
    """Where parameter shards rest between gathers: on the device, or in host memory."""
    weights: Weights = "shard"
    """For passes: each worker holds its share, or nobody holds them and each reads layer after layer from the files."""
    hidden_states_gib: float = 8.0
    """Memory of a worker for what waits between layers; the rest lies in a temporary file."""
    nf4: bool = False
    """For training under ZeRO-2: the frozen base in 4 bits."""

    @property
    def hidden_bytes(self) -> int:
        """Memory of a worker for hidden states, in bytes."""
        return int(self.hidden_states_gib * 2**30)

    def offload_config(self) -> dict[str, Any]:
        """Returns where DeepSpeed keeps the shards, when not on the device that computes."""
        if self.offload == "none":
            return {}
        return {"offload_param": {"device": self.offload, "pin_memory": False}}


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupSpec:
    """How many workers share the model, and what each may use. A world size of 1 is no special case."""

    world_size: int = 1
    """Workers."""
    threads_per_worker: int = 1
    """Cores of each."""
    gpus_per_worker: float = 0
    """GPUs of each; a fraction where workers share one."""
    max_restarts: int = 2
    """How often workers that were lost are started anew."""
    hang_timeout_s: float = 600.0
    """After this long without progress on any rank, the workers are lost."""
