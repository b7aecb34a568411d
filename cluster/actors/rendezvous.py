"""Where ranks meet. Left to itself, torch's key-value store listens on every interface of its machine, and whoever reaches it
can join or disturb the group; here it listens on the one address that the ranks were given.
"""

from __future__ import annotations

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
