"""The machines a study is planned for: as stated ("2x8x80GB"), in devices of a known kind."""

from __future__ import annotations

import re
from dataclasses import dataclass

from polyneuron.cluster.capacity.memory import GIB
from polyneuron.neuron_core.common.errors import ConfigError

HOST_PER_DEVICE_MEMORY = 1.5
"""Host memory assumed for stated devices, in multiples of their own: between the usual nodes of A100 (1.8) and B200 (1.3)."""


@dataclass(frozen=True)
class DeviceKind:
    """A GPU by its data sheet. memory_bytes: as its driver reports it; bfloat16_flops: dense, on tensor cores;
    float32_flops: without TF32; memory_bytes_per_s: of its own memory; link_bytes_per_s: to its peers in the node, one way."""

    name: str
    memory_bytes: int
    bfloat16_flops: float
    float32_flops: float
    memory_bytes_per_s: float
    link_bytes_per_s: float


def _kind(name: str, gib: float, bf16: float, fp32: float, memory: float, link: float) -> DeviceKind:
    return DeviceKind(name, int(gib * GIB), bf16 * 1e12, fp32 * 1e12, memory * 1e12, link * 1e9)


KINDS: dict[str, DeviceKind] = {
    kind.name: kind
    for kind in (
        _kind("A10-24GB", 22.5, 125, 31.2, 0.6, 25),
        _kind("L40S-48GB", 44.9, 362, 91.6, 0.864, 25),
        _kind("A100-40GB", 39.5, 312, 19.5, 1.555, 300),
        _kind("A100-80GB", 79.2, 312, 19.5, 2.0, 300),
        _kind("H100-80GB", 79.6, 989, 67, 3.35, 450),
        _kind("H200-141GB", 139.8, 989, 67, 4.8, 450),
        _kind("B200-180GB", 178.3, 2250, 75, 7.7, 900),
    )
}
"""TFLOP/s, TB/s and GB/s of the makers' data sheets; memory as `nvidia-smi` shows it, or nearly."""

_SERIES = re.compile(r"\b[A-Z]+\d+")


def kinds_called(name: str) -> list[DeviceKind]:
    """Known kinds of the series that `name` holds: both A100s for "NVIDIA A100-SXM4-80GB", and never an A10."""
    series = _SERIES.search(name.upper())
    return [kind for kind in KINDS.values() if series and _SERIES.findall(kind.name)[0] == series[0]]


@dataclass(frozen=True)
class Machines:
    """Equal nodes. kind: of their devices, None without; host_bytes, cores: of one node; source: where this comes from;
    assumed: what was not stated, in words; counts_cores: whether no more cores than there are can be asked for (a Ray of our
    own is told that it has as many as are asked for)."""

    n_nodes: int
    devices_per_node: int
    kind: DeviceKind | None
    host_bytes: int
    cores: int
    source: str
    assumed: tuple[str, ...] = ()
    counts_cores: bool = False

    @property
    def n_devices(self) -> int:
        """Of all nodes."""
        return self.n_nodes * self.devices_per_node

    def __str__(self) -> str:
        host = f"{self.host_bytes / GIB:.0f} GiB of memory and {self.cores} cores"
        if self.kind is None:
            return f"{self.n_nodes} x {host}" if self.n_nodes > 1 else host
        nodes = f"{self.n_nodes} nodes of " if self.n_nodes > 1 else ""
        memory = self.kind.memory_bytes / GIB
        return (
            f"{nodes}{self.devices_per_node} x {self.kind.name} ({memory:.1f} GiB usable each), {host} a node"
        )


_FORM = re.compile(r"(?:(\d+)x)?(\d+)x(?:(\d+(?:\.\d+)?)GB|([A-Za-z]\w*(?:-\d+GB)?))", re.IGNORECASE)


def parse_devices(text: str, host_gib: float | None = None) -> Machines:
    """[NODES x] DEVICES x KIND: "8x80GB", "2x8xH100", "1xA100-40GB". Memory alone names the slowest known kind of that size.

    Raises:
        ConfigError: another form, no device, or a kind that is not known.
    """
    found = _FORM.fullmatch(text.replace(" ", ""))
    if not found or "0" in (found[1], found[2]):
        raise ConfigError(
            f"--devices {text!r} is not [NODESx]DEVICESxKIND, such as 8x80GB, 2x8xH100 or 1xA100-40GB; known are "
            f"{', '.join(KINDS)}"
        )
    n_nodes, n_devices = int(found[1] or 1), int(found[2])
    kind, assumed = _sized(float(found[3])) if found[3] else (_named(found[4]), ())
    host_bytes = int((host_gib or 0) * GIB)
    if not host_bytes:
        host_bytes = int(HOST_PER_DEVICE_MEMORY * n_devices * kind.memory_bytes)
        assumed = (
            *assumed,
            f"host memory of a node is {HOST_PER_DEVICE_MEMORY} times its devices' (--host-gib)",
        )
    return Machines(
        n_nodes,
        n_devices,
        kind,
        host_bytes,
        cores=16 * n_devices,
        source="stated",
        assumed=(*assumed, "16 cores a device"),
    )


def _named(name: str) -> DeviceKind:
    matching = [kind for kind in kinds_called(name) if kind.name.lower().startswith(name.lower())]
    if not matching:
        raise ConfigError(f"--devices: the kind {name!r} is not known; there are {', '.join(KINDS)}")
    return max(matching, key=lambda kind: kind.memory_bytes)


def _sized(gigabytes: float) -> tuple[DeviceKind, tuple[str, ...]]:
    same = [kind for key, kind in KINDS.items() if key.endswith(f"-{gigabytes:g}GB")]
    if same:
        kind = min(same, key=lambda one: one.bfloat16_flops)
        return kind, (f"{gigabytes:g} GB devices are {kind.name}",)
    like = min(KINDS.values(), key=lambda one: abs(one.memory_bytes - gigabytes * 1e9))
    kind = DeviceKind(
        f"{gigabytes:g}GB",
        int(gigabytes * 1e9),
        like.bfloat16_flops,
        like.float32_flops,
        like.memory_bytes_per_s,
        like.link_bytes_per_s,
    )
    return kind, (f"{gigabytes:g} GB devices are as fast as {like.name}",)
