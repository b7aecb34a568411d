"""One rank's model for passes, without an engine: parameters are gathered where and when `LayerMajor` asks.

DeepSpeed's forward hooks gather and free every layer for every batch; here a layer is gathered once for all batches. Edits
made inside a gather vanish with it, which is what deactivation wants.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from polyneuron.cluster.actors.rendezvous import join, meet
from polyneuron.cluster.memory import give_back_freed, peak_resident_bytes, reset_peak
from polyneuron.cluster.spec import ModelSpec, Seat
from polyneuron.neuron_core.model.stored_model import StoredModel
from polyneuron.neuron_core.passes.layer_major import LayerMajor


class PassModel:
    """A `runner` over one rank's shard, or over the files of a model that nobody holds, and counts of what came in."""

    def __init__(self, spec: ModelSpec, seat: Seat, *, streamed: bool = False) -> None:
        """streamed: read every layer from the files in place of gathering it; ranks meet all the same, since passes may add up
        what they found."""
        (meet if streamed else join)(seat)
        on_gpu = torch.cuda.is_available()
        device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
        self._stored = StoredModel(spec.source, spec.dtype, spec.revision, spec.trust_remote_code, device)
        self.model = self._stored.model
        if not streamed:
            from polyneuron.cluster.ranks.sharded_load import ShardsFromFiles

            zero = {
                "stage": 3,
                "stage3_param_persistence_threshold": 0,  # nothing stays whole between gathers
                "memory_efficient_linear": False,  # would replace torch's linear for good
            }
            config = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": zero | spec.offload_config()}
            ShardsFromFiles(self._stored, config | {"bf16": {"enabled": spec.dtype == "bfloat16"}})
        self._whole = self._stored.gather if streamed else self._gathered
        self.runner = LayerMajor(
            self.model, gather=self.gather, device=device, hidden_bytes=spec.hidden_bytes
        )
        self.seat, self.bytes_received = seat, 0

    @contextmanager
    def gather(self, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
        """Makes parameters whole inside; every rank of a shard must enter with the same ones. Changes made inside are lost."""
        with self._whole(parameters):
            yield
        give_back_freed()

    def _gathered(self, parameters: Sequence[nn.Parameter]) -> Any:
        import deepspeed

        whole_bytes = sum(p.ds_numel * p.element_size() for p in parameters)  # type: ignore[attr-defined]
        self.bytes_received += whole_bytes * (self.seat.world_size - 1) // self.seat.world_size
        return deepspeed.zero.GatheredParameters(list(parameters), modifier_rank=None)

    def stats(self) -> dict[str, Any]:
        """Returns, since `reset_stats`, bytes received from other ranks and read from files (a shard: at loading) and this
        process's peak resident bytes; and the bytes of the whole model."""
        return {
            "rank": self.seat.rank,
            "bytes_received": self.bytes_received,
            "bytes_read": self._stored.files.bytes_read,
            "model_bytes": self._stored.model_bytes,
            "peak_resident_bytes": peak_resident_bytes(),
        }

    def reset_stats(self) -> None:
        """Starts counting anew from here on."""
        reset_peak()
        self.bytes_received = self._stored.files.bytes_read = 0
