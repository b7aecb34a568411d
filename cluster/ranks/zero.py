"""A model sharded by DeepSpeed ZeRO-3, without an engine: parameters are gathered where and when `LayerMajor`
asks.

An engine's forward hooks gather and free every layer for every batch; here a layer is gathered once for all
batches. Edits made inside a gather vanish with it, which is what deactivation wants.
"""

from __future__ import annotations

import importlib
import os
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


class ShardedModel:
    """One rank's shard, its `runner`, and counts of what was gathered."""

    def __init__(self, spec: ModelSpec, rank: int, world_size: int, address: str, port: int) -> None:
        join(rank, world_size, address, port)
        import deepspeed

        from polyneuron.cluster.ranks.sharded_load import ShardsFromFiles

        on_gpu = torch.cuda.is_available()
        device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
        self._gathered_parameters = deepspeed.zero.GatheredParameters
        self._stored = StoredModel(spec.source, spec.dtype, spec.revision, spec.trust_remote_code, device)
        self.model = self._stored.model
        ShardsFromFiles(self._stored, spec.deepspeed_config())
        self.runner = LayerMajor(
            self.model, gather=self.gather, device=device, hidden_bytes=spec.hidden_bytes
        )
        self.rank, self.world_size = rank, world_size
        self.bytes_received = 0
        self.n_gathers = 0

    @contextmanager
    def gather(self, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
        """Makes sharded parameters whole; every rank must enter with the same ones. Changes made inside are
        lost.
        """
        whole_bytes = sum(p.ds_numel * p.element_size() for p in parameters)  # type: ignore[attr-defined]
        self.bytes_received += whole_bytes * (self.world_size - 1) // self.world_size
        self.n_gathers += 1
        with self._gathered_parameters(list(parameters), modifier_rank=None):
            yield
        give_back_freed()

    def stats(self) -> dict[str, Any]:
        """Bytes received from other ranks, bytes read from files (at loading), gathers, bytes of the whole model, and this
        process's peak resident bytes since `reset_stats`.
        """
        return {
            "rank": self.rank,
            "bytes_received": self.bytes_received,
            "bytes_read": self._stored.files.bytes_read,
            "n_gathers": self.n_gathers,
            "model_bytes": sum(p.ds_numel * p.element_size() for p in self.model.parameters()),
            "peak_resident_bytes": peak_resident_bytes(),
        }

    def reset_stats(self) -> None:
        """Starts counting anew."""
        reset_peak()
        self.bytes_received, self.n_gathers = 0, 0


def join(rank: int, world_size: int, address: str, port: int) -> None:
    """Joins this process to the group of ranks that meets at address:port."""
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(world_size),
        MASTER_ADDR=address,
        MASTER_PORT=str(port),
        LOCAL_RANK="0",
    )
    import deepspeed

    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        # The operator serves only all-reduce of a few bytes here; it compiles for a minute at first use, and a worker
        # killed meanwhile leaves a lock on which every later one waits. The attribute deepspeed.comm.torch is torch
        # itself, hence import_module.
        vars(importlib.import_module("deepspeed.comm.torch"))["build_shm_op"] = lambda: None
    meet(rank, world_size, address, port)
    deepspeed.init_distributed(
        dist_backend="nccl" if on_gpu else "gloo",
        auto_mpi_discovery=False,
        verbose=False,
        rank=rank,
        world_size=world_size,
    )
