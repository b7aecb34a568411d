"""A stage as a whole: its fullest phase against the machines, and its time as the sum of computing, gathering, moving and
reading, since nothing overlaps in the passes."""

from __future__ import annotations

from dataclasses import dataclass, field

from polyneuron.cluster.capacity.devices import Machines
from polyneuron.cluster.capacity.memory import GIB, Phase, fullest
from polyneuron.cluster.capacity.rates import Rates

HEADROOM = 0.95
"""Share of a memory that may be planned with: allocators fragment, and the system needs some."""


@dataclass(frozen=True)
class Stage:
    """One stage of one model.

    world_size: ranks; devices: held while it runs, in GPUs (or, without, in cores); phases: of a rank; flops: over all ranks;
    score_flops: the part of them on attention scores; received_bytes: by a rank; moved_bytes: between a rank's host and
    device; read_bytes: by a node, from files; spilled_bytes: of hidden states, to a rank's disk and back; generating_bytes: that
    a rank reads of its own memory while it generates; notes: in words; refused: what rules it out, in words.
    """

    name: str
    world_size: int
    ranks_per_node: int
    on_gpu: bool
    devices: float
    phases: tuple[Phase, ...]
    flops: float
    score_flops: float = 0.0
    received_bytes: int = 0
    moved_bytes: int = 0
    read_bytes: int = 0
    spilled_bytes: int = 0
    generating_bytes: int = 0
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def host_bytes(self) -> int:
        """Of a rank in its node's memory, at most."""
        return max(one.host_bytes for one in self.phases)


@dataclass(frozen=True)
class StagePlan:
    """A stage against machines. peak: its fullest phase; seconds: by cause; missing: what does not fit, in words."""

    stage: Stage
    peak: Phase
    seconds: dict[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def total_s(self) -> float:
        """Of all causes."""
        return sum(self.seconds.values())

    @property
    def device_hours(self) -> float:
        """GPU-hours, or core-hours."""
        return self.total_s / 3600 * self.stage.devices

    @property
    def fits(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def plan_stage(stage: Stage, machines: Machines, rates: Rates) -> StagePlan:
    """Sets the stage against the machines."""
    plain = stage.flops - stage.score_flops
    per_rank = (plain + rates.score_slowdown * stage.score_flops) / stage.world_size
    seconds = {
        "computing": per_rank / rates.flops_per_s,
        "gathering": stage.received_bytes / rates.gather_bytes_per_s,
        "moving": stage.moved_bytes / rates.host_bytes_per_s,
        "reading": (stage.read_bytes + stage.spilled_bytes * min(stage.ranks_per_node, stage.world_size))
        / rates.read_bytes_per_s,
        "generating": stage.generating_bytes / rates.memory_bytes_per_s,
    }
    return StagePlan(
        stage,
        fullest(stage.phases, stage.on_gpu),
        {cause: value for cause, value in seconds.items() if value},
        missing(stage, machines),
    )


def missing(stage: Stage, machines: Machines) -> tuple[str, ...]:
    """What of the stage does not fit the machines, in words, `refused` first; empty where it fits."""
    peak, host_bytes, found = fullest(stage.phases, stage.on_gpu), stage.host_bytes, [*stage.refused]
    if stage.on_gpu:
        if machines.kind is None:
            found.append(f"{stage.world_size} GPUs are asked for, and there is none")
        else:
            if stage.devices > machines.n_devices:
                found.append(f"{stage.devices:g} GPUs are asked for, and there are {machines.n_devices}")
            room = int(HEADROOM * machines.kind.memory_bytes)
            ranks_per_device = max(1, int(stage.world_size / stage.devices)) if stage.devices else 1
            if peak.device_bytes * ranks_per_device > room:
                found.append(
                    f"{gib(peak.device_bytes * ranks_per_device)} on a device in the phase {peak.name!r}; "
                    f"{gib(room)} of {gib(machines.kind.memory_bytes)} may be used"
                )
    elif machines.counts_cores and stage.devices > machines.cores * machines.n_nodes:
        found.append(
            f"{stage.devices:g} cores are asked for, and there are {machines.cores * machines.n_nodes}"
        )
    on_node = min(stage.ranks_per_node, stage.world_size)
    room = int(HEADROOM * machines.host_bytes)
    if on_node * host_bytes > room:
        ranks = f"{on_node} ranks with {gib(host_bytes)} each" if on_node > 1 else gib(host_bytes)
        found.append(f"{ranks} in a node's memory; {gib(room)} of {gib(machines.host_bytes)} may be used")
    return tuple(found)


def gib(n_bytes: float) -> str:
    """Bytes in GiB, or MiB below one."""
    return f"{n_bytes / GIB:.1f} GiB" if n_bytes >= GIB else f"{n_bytes / (1 << 20):.0f} MiB"
