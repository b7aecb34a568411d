"""A stage as a whole: its fullest phase against the machines, and its time as the sum of computing, gathering, moving and
reading, since nothing overlaps in the passes."""

from dataclasses import dataclass

from polyneuron.cluster.capacity.devices import Machines
from polyneuron.cluster.capacity.placing import Phase, fullest
from polyneuron.cluster.capacity.rates import Rates
from polyneuron.cluster.memory import GIB

HEADROOM = 0.95
"""Share of a memory that may be planned with: allocators fragment, and the system needs some."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One stage of one model: what its ranks hold and do."""

    name: str
    """As the study calls it."""
    world_size: int
    """Ranks that work together."""
    ranks_per_node: int
    """Of these ranks."""
    on_gpu: bool
    """Whether ranks compute on GPUs."""
    devices: float
    """Held while it runs, in GPUs or, without, in cores."""
    phases: tuple[Phase, ...]
    """Of a rank."""
    flops: float
    """Over all ranks."""
    score_flops: float = 0.0
    """The part of `flops` on attention scores."""
    received_bytes: int = 0
    """By a rank, from others."""
    n_steps: int = 0
    """Optimizer steps of all trainings; 0 where nothing is trained."""
    moved_bytes: int = 0
    """Between a rank's host and device."""
    read_bytes: int = 0
    """By a node, from files."""
    spilled_bytes: int = 0
    """Of hidden states, to a rank's disk and back."""
    generating_bytes: int = 0
    """That a rank reads of its own memory while it generates."""
    notes: tuple[str, ...] = ()
    """What else there is to say."""
    refused: tuple[str, ...] = ()
    """What rules it out, whatever the machines."""

    @property
    def peak(self) -> Phase:
        """The phase in which a rank is fullest where it computes."""
        return fullest(self.phases, self.on_gpu)

    @property
    def host_bytes(self) -> int:
        """Bytes of a rank in its node's memory, at most."""
        return max(held.host_bytes for held in self.phases)


@dataclass(frozen=True)
class StagePlan:
    """A stage at its rates. seconds: by cause; missing: what does not fit the machines, in words."""

    stage: Stage
    rates: Rates
    seconds: dict[str, float]
    missing: tuple[str, ...]

    @property
    def total_s(self) -> float:
        """Seconds of all causes together."""
        return sum(self.seconds.values())

    @property
    def device_hours(self) -> float:
        """GPU-hours, or core-hours without a GPU."""
        return self.total_s / 3600 * self.stage.devices

    @property
    def fits(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def plan_stage(stage: Stage, machines: Machines, rates: Rates) -> StagePlan:
    """Sets the stage against the machines."""
    flops = stage.flops + (rates.score_slowdown - 1) * stage.score_flops
    files = stage.read_bytes + stage.spilled_bytes * min(stage.ranks_per_node, stage.world_size)
    seconds = {
        "computing": flops / stage.world_size / rates.flops_per_s,
        "gathering": stage.received_bytes / rates.gather_bytes_per_s,
        "moving": stage.moved_bytes / rates.host_bytes_per_s,
        "reading": files / rates.read_bytes_per_s,
        "generating": stage.generating_bytes / rates.memory_bytes_per_s,
    }
    seconds = {cause: value for cause, value in seconds.items() if value}
    return StagePlan(stage, rates, seconds, missing(stage, machines))


def missing(stage: Stage, machines: Machines) -> tuple[str, ...]:
    """What of the stage does not fit the machines, in words, `refused` first; empty where it fits."""
    said = [*stage.refused]
    if stage.on_gpu and machines.kind is None:
        said.append(f"{stage.world_size} GPUs are asked for, and there is none")
    elif stage.on_gpu and machines.kind is not None:
        if stage.devices > machines.n_devices:
            said.append(f"{stage.devices:g} GPUs are asked for, and there are {machines.n_devices}")
        room = int(HEADROOM * machines.kind.memory_bytes)
        ranks_per_device = max(1, int(stage.world_size / stage.devices)) if stage.devices else 1
        held = stage.peak.device_bytes * ranks_per_device
        if held > room:
            said.append(
                f"{gib(held)} on a device in the phase {stage.peak.name!r}; "
                f"{gib(room)} of {gib(machines.kind.memory_bytes)} may be used"
            )
    elif machines.counts_cores and stage.devices > (n_cores := machines.cores * machines.n_nodes):
        said.append(f"{stage.devices:g} cores are asked for, and there are {n_cores}")
    on_node = min(stage.ranks_per_node, stage.world_size)
    room = int(HEADROOM * machines.host_bytes)
    if on_node * stage.host_bytes > room:
        each = gib(stage.host_bytes)
        ranks = f"{on_node} ranks with {each} each" if on_node > 1 else each
        said.append(f"{ranks} in a node's memory; {gib(room)} of {gib(machines.host_bytes)} may be used")
    return tuple(said)


def gib(n_bytes: float) -> str:
    """Bytes in GiB; in MiB below one; from 10 TiB on, which no node's memory has, in TiB and PiB."""
    for unit, size, least in (("PiB", GIB << 20, GIB << 20), ("TiB", GIB << 10, 10 * GIB << 10)):
        if n_bytes >= least:
            return f"{n_bytes / size:,.1f} {unit}"
    return f"{n_bytes / GIB:,.1f} GiB" if n_bytes >= GIB else f"{n_bytes / (1 << 20):.0f} MiB"
