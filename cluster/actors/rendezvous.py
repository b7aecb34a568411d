"""Where ranks meet. Left to itself, torch's key-value store listens on every interface of its machine, and whoever reaches it
can join or disturb the group; here it listens on the one address that the ranks were given.
"""

from __future__ import annotations

import importlib
import ipaddress
import os
import socket
from datetime import timedelta

import torch
import torch.distributed as dist

_TIMEOUT = timedelta(minutes=10)


def meet(rank: int, world_size: int, address: str, port: int) -> None:
    """Makes this process rank `rank` of torch's process group (NCCL on a GPU, gloo elsewhere) that meets at address:port.

    Rank 0 listens there. On a loopback address gloo's own connections stay on loopback as well.
    """
    ip = ipaddress.ip_address(address)
    if ip.is_loopback:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    listening = None
    if rank == 0:
        family = socket.AF_INET6 if ip.version == 6 else socket.AF_INET
        listening = socket.create_server((address, port), family=family).detach()
    store = dist.TCPStore(address, port, world_size, rank == 0, timeout=_TIMEOUT, master_listen_fd=listening)
    on_gpu = torch.cuda.is_available()
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        store=store,
        rank=rank,
        world_size=world_size,
        timeout=_TIMEOUT,
        # DeepSpeed names the device too, and for the same ranks.
        device_id=torch.device("cuda", 0) if on_gpu and world_size > 1 else None,
    )


def join(rank: int, world_size: int, address: str, port: int) -> None:
    """Joins this process to the group of ranks that meets at address:port, and DeepSpeed with it."""
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
