"""A model that no rank holds: each reads layer after layer from the files, for its own share of the sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from polyneuron.cluster.actors.rendezvous import meet
from polyneuron.cluster.memory import give_back_freed, peak_resident_bytes, reset_peak
from polyneuron.cluster.spec import ModelSpec
from polyneuron.neuron_core.model.stored_model import StoredModel
from polyneuron.neuron_core.passes.layer_major import LayerMajor


class StreamedModel:
    """One rank's `runner`, and counts of what was read. Stands where `ShardedModel` stands for passes."""

    def __init__(self, spec: ModelSpec, rank: int, world_size: int, address: str, port: int) -> None:
        """Ranks meet because passes may add up what they found; weights are no matter of theirs."""
        meet(rank, world_size, address, port)
        on_gpu = torch.cuda.is_available()
        device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
        self._stored = StoredModel(spec.source, spec.dtype, spec.revision, spec.trust_remote_code, device)
        self.runner = LayerMajor(
            self._stored.model,
            gather=self.gather,
            device=device,
            hidden_bytes=spec.hidden_bytes,
        )
        self.rank = rank

    @contextmanager
    def gather(self, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
        """Reads parameters; inside they are whole. Changes made inside are lost."""
        with self._stored.gather(parameters):
            yield
        give_back_freed()

    def stats(self) -> dict[str, Any]:
        """Bytes read from files, bytes of the whole model, and this process's peak resident bytes since `reset_stats`."""
        return {
            "rank": self.rank,
            "bytes_received": 0,
            "bytes_read": self._stored.files.bytes_read,
            "model_bytes": self._stored.model_bytes,
            "peak_resident_bytes": peak_resident_bytes(),
        }

    def reset_stats(self) -> None:
        """Starts counting anew."""
        reset_peak()
        self._stored.files.bytes_read = 0
