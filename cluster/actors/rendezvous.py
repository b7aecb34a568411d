"""Where ranks meet. Left to itself, torch's key-value store listens on every interface of its machine, and whoever reaches it
can join or disturb the group; here it listens on the one address that the ranks were given."""

import importlib
import ipaddress
import os
import socket
from datetime import timedelta

import torch
import torch.distributed as dist

from polyneuron.cluster.spec import Seat

_TIMEOUT = timedelta(minutes=10)


def meet(seat: Seat) -> None:
    """Makes this process a rank of torch's process group (NCCL on a GPU, gloo elsewhere). Rank 0 listens at the address. On a
    loopback address gloo's own connections stay on loopback as well. A process that has met its group stays in it."""
    if dist.is_initialized():
        return
    rank, world_size, address, port = seat
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


def join(seat: Seat) -> None:
    """Joins this process to its group of ranks, and DeepSpeed with it."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    os.environ |= dict(zip(names, map(str, seat), strict=True)) | {"LOCAL_RANK": "0"}
    import deepspeed

    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        # The operator serves only all-reduce of a few bytes here; it compiles for a minute at first use, and a worker
        # killed meanwhile leaves a lock on which every later one waits. The attribute deepspeed.comm.torch is torch
        # itself, hence import_module.
        vars(importlib.import_module("deepspeed.comm.torch"))["build_shm_op"] = lambda: None
    meet(seat)
    deepspeed.init_distributed(
        dist_backend="nccl" if on_gpu else "gloo",
        auto_mpi_discovery=False,
        verbose=False,
        rank=seat.rank,
        world_size=seat.world_size,
    )
