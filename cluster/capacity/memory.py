"""What a rank holds, phase by phase: the peak of a stage is that of its fullest phase, not the sum of all it ever holds."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30
MIB = 1 << 20


@dataclass(frozen=True)
class Phase:
    """What is held at the same time. device: bytes on the device that computes; host: bytes in the memory of its node; each
    by name. A rank on a CPU has everything in host."""

    name: str
    device: dict[str, int]
    host: dict[str, int]

    @property
    def device_bytes(self) -> int:
        """Bytes on the device, together."""
        return sum(self.device.values())

    @property
    def host_bytes(self) -> int:
        """Bytes in host memory, together."""
        return sum(self.host.values())


def phase(name: str, on_gpu: bool, computing: dict[str, int], waiting: dict[str, int]) -> Phase:
    """A phase of a rank: `computing` lies where it computes, `waiting` in host memory in any case. Zeros are left out."""
    computing = {key: value for key, value in computing.items() if value}
    waiting = {key: value for key, value in waiting.items() if value}
    return Phase(name, computing, waiting) if on_gpu else Phase(name, {}, computing | waiting)


def fullest(phases: tuple[Phase, ...], on_gpu: bool) -> Phase:
    """The phase with the highest peak where the rank computes."""
    return max(phases, key=lambda one: one.device_bytes if on_gpu else one.host_bytes)
