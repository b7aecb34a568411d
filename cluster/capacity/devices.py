"""The machines a study is planned for: as stated ("2x8x80GB"), in devices of a known kind."""

import re
from dataclasses import dataclass, replace

from polyneuron.cluster.memory import GIB
from polyneuron.neuron_core.common.errors import ConfigError

HOST_PER_DEVICE_MEMORY = 1.5
"""Host memory assumed for stated devices, in multiples of their own: between the usual nodes of A100 (1.8) and B200 (1.3)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceKind:
    """A GPU by its data sheet."""

    name: str
    """Series and memory."""
    memory_bytes: int
    """As its driver reports it."""
    bfloat16_flops: float
    """Operations a second, dense, on tensor cores."""
    float32_flops: float
    """Operations a second, without TF32."""
    memory_bytes_per_s: float
    """Of its own memory."""
    link_bytes_per_s: float
    """To its peers in the node, one way."""


_SHEETS = (
    ("A10-24GB", 22.5, 125, 31.2, 0.6, 25),
    ("L40S-48GB", 44.9, 362, 91.6, 0.864, 25),
    ("A100-40GB", 39.5, 312, 19.5, 1.555, 300),
    ("A100-80GB", 79.2, 312, 19.5, 2.0, 300),
    ("H100-80GB", 79.6, 989, 67, 3.35, 450),
    ("H200-141GB", 139.8, 989, 67, 4.8, 450),
    ("B200-180GB", 178.3, 2250, 75, 7.7, 900),
)
"""Memory in GiB as `nvidia-smi` shows it, or nearly; TFLOP/s (bfloat16, float32), TB/s and GB/s of the makers' data sheets."""

KINDS: dict[str, DeviceKind] = {
    name: DeviceKind(
        name=name,
        memory_bytes=int(gib * GIB),
        bfloat16_flops=bfloat16 * 1e12,
        float32_flops=float32 * 1e12,
        memory_bytes_per_s=memory * 1e12,
        link_bytes_per_s=link * 1e9,
    )
    for name, gib, bfloat16, float32, memory, link in _SHEETS
}
"""The devices that can be named, by name."""

_SERIES = re.compile(r"\b[A-Z]+\d+")


def kinds_called(name: str) -> list[DeviceKind]:
    """Returns the known kinds of the series that `name` holds: both A100s for "NVIDIA A100-SXM4-80GB", and never an A10."""
    series = _SERIES.search(name.upper())
    return [kind for kind in KINDS.values() if series and _SERIES.findall(kind.name)[0] == series[0]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Machines:
    """Nodes that are all alike, and what each has."""

    n_nodes: int
    """How many there are."""
    devices_per_node: int = 0
    """GPUs of one."""
    kind: DeviceKind | None = None
    """Of their GPUs; None without."""
    host_bytes: int
    """Memory of one."""
    cores: int
    """Of one."""
    core_flops: float | None = None
    """Float32 operations a second of one core in large products; None where it was not measured."""
    source: str
    """Where this comes from, in words."""
    assumed: tuple[str, ...] = ()
    """What was not stated, in words."""
    counts_cores: bool = False
    """Whether no more cores than there are can be asked for; a Ray of our own is told that it has as many as are asked for."""

    @property
    def n_devices(self) -> int:
        """GPUs of all nodes together."""
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


_MOST = 1_000_000
"""Of nodes, devices, GB and GiB: what is above is no machine."""


def parse_devices(text: str, host_gib: float | None = None) -> Machines:
    """The machines of "[NODESx]DEVICESxKIND", such as 8x80GB, 2x8xH100 or 1xA100-40GB; memory alone names the slowest known kind
    of that size. Raises ConfigError for another form, no device, or a kind that is not known."""
    parts = _FORM.fullmatch(text.replace(" ", ""))
    numbers = [float(part) for part in (parts[1], parts[2], parts[3]) if part is not None] if parts else []
    if not parts or not all(0 < number <= _MOST for number in numbers):
        raise ConfigError(
            f"--devices {text!r} is not [NODESx]DEVICESxKIND, such as 8x80GB, 2x8xH100 or 1xA100-40GB; known are "
            f"{', '.join(KINDS)}"
        )
    if host_gib is not None and not 0 < host_gib <= _MOST:
        raise ConfigError(
            f"--host-gib {host_gib:g} is no memory of a node: state GiB above 0, up to {_MOST:,}"
        )
    n_devices = int(parts[2])
    kind, assumed = _sized(float(parts[3])) if parts[3] else (_named(parts[4]), ())
    host_bytes = int((host_gib or 0) * GIB)
    if not host_bytes:
        host_bytes = int(HOST_PER_DEVICE_MEMORY * n_devices * kind.memory_bytes)
        assumed = (
            *assumed,
            f"host memory of a node is {HOST_PER_DEVICE_MEMORY} times its devices' (--host-gib)",
        )
    return Machines(
        n_nodes=int(parts[1] or 1),
        devices_per_node=n_devices,
        kind=kind,
        host_bytes=host_bytes,
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
    kind = replace(like, name=f"{gigabytes:g}GB", memory_bytes=int(gigabytes * 1e9))
    return kind, (f"{gigabytes:g} GB devices are as fast as {like.name}",)
