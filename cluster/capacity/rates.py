"""How fast things go: assumed until measured (`cluster.capacity.calibration`), and always shown beside what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field

from polyneuron.cluster.capacity.devices import Machines

_UTILISATION = 0.4
"""Share of a GPU's peak that plain layers over padded micro-batches reach."""
_CORE_FLOPS = 2.5e10
"""Sustained float32 operations a second of one CPU core with AVX2; bfloat16 is no faster without AMX or AVX512-bf16."""


@dataclass(frozen=True)
class Rates:
    """Of one rank. flops_per_s: sustained, in plain layers; gather_bytes_per_s: received from other ranks; host_bytes_per_s:
    between host and device; read_bytes_per_s: from files, of one node; memory_bytes_per_s: of the memory that holds weights
    and cache, which bounds decoding; score_slowdown: how much slower the work on attention scores runs, an operation;
    origin: in words, by field."""

    flops_per_s: float
    gather_bytes_per_s: float
    host_bytes_per_s: float
    read_bytes_per_s: float
    memory_bytes_per_s: float
    score_slowdown: float
    origin: dict[str, str] = field(default_factory=dict)


def assumed_rates(machines: Machines, dtype: str, threads: int, on_gpu: bool, n_nodes: int) -> Rates:
    """Of a rank with `threads` cores, or a GPU of `machines`, in a group that spans `n_nodes`."""
    read, slowdown = 1e9, 4.0
    origin = {
        "read_bytes_per_s": "assumed: a file system at 1 GB/s a node",
        "score_slowdown": "measured on a CPU (docs/benchmarks.md, full detection at 64 to 256 tokens)",
    }
    if not on_gpu or machines.kind is None:
        return Rates(
            _CORE_FLOPS * threads,
            1e9,
            1e10,
            read,
            1e10,
            slowdown,
            origin
            | {
                "flops_per_s": f"assumed: {_CORE_FLOPS / 1e9:.0f} GFLOP/s a core",
                "gather_bytes_per_s": "assumed: gloo within a machine",
                "memory_bytes_per_s": "assumed: main memory",
            },
        )
    kind = machines.kind
    peak = kind.bfloat16_flops if dtype == "bfloat16" else kind.float32_flops
    between = n_nodes > 1
    return Rates(
        _UTILISATION * peak,
        2.5e10 if between else 0.5 * kind.link_bytes_per_s,
        1.2e10,
        read,
        kind.memory_bytes_per_s,
        slowdown,
        origin
        | {
            "flops_per_s": f"assumed: {_UTILISATION:.0%} of {kind.name}'s {peak / 1e12:.0f} TFLOP/s in {dtype}",
            "gather_bytes_per_s": "assumed: 200 Gbit/s a rank between nodes"
            if between
            else f"assumed: half of {kind.name}'s link",
            "host_bytes_per_s": "assumed: PCIe 4",
            "memory_bytes_per_s": f"{kind.name}'s data sheet",
        },
    )
