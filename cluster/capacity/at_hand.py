"""The machines at hand: the Ray cluster of $RAY_ADDRESS, else this machine."""

import os
import time
from dataclasses import replace
from functools import cache
from typing import Any

from polyneuron.cluster.capacity.devices import KINDS, DeviceKind, Machines, kinds_called
from polyneuron.neuron_core.common.errors import ClusterError

_PRODUCT, _TIMES = (256, 576, 1536), 8
"""Tokens of a micro-batch times a layer's weights; how often it is timed."""


def machines_at_hand() -> Machines:
    """Returns what a study started here would run on. Raises ClusterError when $RAY_ADDRESS is set and nobody answers, or its
    nodes differ in their devices."""
    return _of_ray() if os.environ.get("RAY_ADDRESS") else _of_this_machine()


def _of_this_machine() -> Machines:
    import psutil
    import torch

    n_devices = torch.cuda.device_count()
    seen = torch.cuda.get_device_properties(0) if n_devices else None
    return Machines(
        n_nodes=1,
        devices_per_node=n_devices,
        kind=_like(seen.name, seen.total_memory) if seen else None,
        host_bytes=psutil.virtual_memory().total,
        cores=os.cpu_count() or 1,
        core_flops=None if n_devices else _core_flops(),
        source="this machine",
    )


@cache
def _core_flops() -> float:
    """Float32 operations a second of one core in linear layers as a small model has them: the best of a few, in 50 ms."""
    import torch

    from polyneuron.neuron_core.passes.linear import fast_linear

    own, (rows, inner, columns) = torch.get_num_threads(), _PRODUCT
    torch.set_num_threads(1)
    try:
        states, weight = torch.ones(rows, inner), torch.ones(columns, inner)
        seconds = []
        for _ in range(_TIMES):
            began = time.perf_counter()
            with fast_linear():
                torch.nn.functional.linear(states, weight)
            seconds.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(own)
    return 2 * rows * inner * columns / min(seconds)


def _of_ray() -> Machines:
    import ray

    from polyneuron.cluster.actors.session import ray_session

    try:
        with ray_session():
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    except (ConnectionError, RuntimeError) as error:
        raise ClusterError(
            f"No Ray cluster answers at {os.environ['RAY_ADDRESS']} ({str(error).splitlines()[0]}). State the machines "
            "with --devices, or unset RAY_ADDRESS to plan for this machine"
        ) from error
    devices = {int(node.get("GPU", 0)) for node in nodes} - {0}
    if len(devices) > 1:
        raise ClusterError(
            f"The nodes of the Ray cluster have {' and '.join(map(str, sorted(devices)))} GPUs: state the ones to plan for "
            "with --devices"
        )
    # A head node that takes no work has neither GPUs nor CPUs.
    working = (
        [node for node in nodes if node.get("GPU")] or [node for node in nodes if node.get("CPU")] or nodes
    )
    n_devices = max(devices, default=0)
    return Machines(
        n_nodes=len(working),
        devices_per_node=n_devices,
        kind=_kind_in_ray(working[0]) if n_devices else None,
        # What Ray keeps for its object store is memory of the node all the same.
        host_bytes=int(min(node.get("memory", 0) + node.get("object_store_memory", 0) for node in working)),
        cores=int(min(node.get("CPU", 1) for node in working)),
        source=f"the Ray cluster at {os.environ['RAY_ADDRESS']}",
        counts_cores=True,
    )


def _kind_in_ray(node: dict[str, Any]) -> DeviceKind:
    """The kind of a name such as "A100-80G"; without a size the smaller."""
    names = [key.removeprefix("accelerator_type:") for key in node if key.startswith("accelerator_type:")]
    for name in sorted(names, key=len, reverse=True):
        if kinds := kinds_called(name):
            return next((kind for kind in kinds if name.upper().removesuffix("B") in kind.name), kinds[0])
    raise ClusterError(
        f"Ray calls the nodes' devices {', '.join(names) or 'nothing'}, which is none of {', '.join(KINDS)}: state them "
        "with --devices"
    )


def _like(name: str, memory_bytes: int) -> DeviceKind:
    """The known kind of that name and nearest memory, with the memory it really has; else as fast as the nearest."""
    like = min(kinds_called(name) or KINDS.values(), key=lambda kind: abs(kind.memory_bytes - memory_bytes))
    return replace(like, name=name, memory_bytes=memory_bytes)
