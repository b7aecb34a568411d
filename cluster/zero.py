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

from cluster.rendezvous import meet
from cluster.spec import ModelSpec
from neuron_core.errors import ClusterError
from neuron_core.layer_major import LayerMajor
from neuron_core.models import from_pretrained, load_config


class ShardedModel:
    """One rank's shard, its `runner`, and counts of what was gathered."""

    def __init__(self, spec: ModelSpec, rank: int, world_size: int, address: str, port: int) -> None:
        join(rank, world_size, address, port)
        import deepspeed
        from transformers.integrations import HfDeepSpeedConfig

        on_gpu = torch.cuda.is_available()
        if spec.offload == "nvme":
            _require_async_io()
        self._gathered_parameters = deepspeed.zero.GatheredParameters
        self._config = HfDeepSpeedConfig(
            spec.deepspeed_config()
        )  # must outlive loading: zero.Init looks it up
        config = load_config(spec.source, spec.revision, spec.trust_remote_code)
        self.model = from_pretrained(spec.source, config, spec.dtype, spec.revision, spec.trust_remote_code)
        _restore_rotary_tables(self.model)
        device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
        self.runner = _ShardedLayerMajor(self.model, gather=self.gather, device=device)
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

    def stats(self) -> dict[str, Any]:
        """Bytes received from other ranks, gathers, bytes of the whole model, and this process's peak
        resident bytes.
        """
        import resource

        return {
            "rank": self.rank,
            "bytes_received": self.bytes_received,
            "n_gathers": self.n_gathers,
            "model_bytes": sum(p.ds_numel * p.element_size() for p in self.model.parameters()),
            "peak_resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }

    def reset_stats(self) -> None:
        """Starts counting anew."""
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


class _ShardedLayerMajor(LayerMajor):
    """Computes on a stated device: the shards may rest elsewhere (offload)."""

    def __init__(self, model: nn.Module, gather: Any, device: torch.device) -> None:
        super().__init__(model, gather=gather)
        self._device = device

    @property
    def device(self) -> torch.device:
        return self._device


def _restore_rotary_tables(model: nn.Module) -> None:
    """zero.Init makes every float tensor in the model's dtype, rotary frequencies too, which belong in float32."""
    for name, module in model.named_modules():
        if name.endswith("rotary_emb"):
            fresh = type(module)(config=module.config)  # type: ignore[call-arg]
            for buffer_name, buffer in fresh.named_buffers():
                setattr(module, buffer_name, buffer.to(getattr(module, buffer_name).device))


def _require_async_io() -> None:
    from deepspeed.ops.op_builder import AsyncIOBuilder

    if not AsyncIOBuilder().is_compatible(verbose=False):
        raise ClusterError(
            "offload: nvme needs DeepSpeed's async_io operator, which cannot be built here (it wants libaio's headers and a "
            "compiler: on Debian, install libaio-dev and g++). Use offload: cpu, or install them"
        )
