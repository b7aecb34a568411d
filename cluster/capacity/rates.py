"""How fast things go: assumed until measured (`cluster.capacity.calibration`), and always shown beside what follows from them."""

from dataclasses import dataclass

from polyneuron.cluster.capacity.devices import Machines

_UTILISATION = 0.4
"""Share of a GPU's peak that plain layers over padded micro-batches reach."""
_OF_PRODUCTS = 0.5
"""Share of what one core alone reaches in a product that plain layers reach where all cores work (SmolLM2: 0.45)."""
_CORE_FLOPS = 2.5e10
"""Sustained float32 operations a second of one CPU core with AVX2; bfloat16 is no faster without AMX or AVX512-bf16."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """How fast one rank is."""

    flops_per_s: float
    """Sustained, in plain layers."""
    gather_bytes_per_s: float
    """Received from other ranks."""
    host_bytes_per_s: float = 1e10
    """Between host and device."""
    read_bytes_per_s: float = 1e9
    """From files, of one node."""
    memory_bytes_per_s: float = 1e10
    """Of the memory that holds weights and cache, which bounds decoding."""
    score_slowdown: float = 4.0
    """How much slower an operation on attention scores runs than a plain one."""
    origin: dict[str, str]
    """Where the rates come from, in words, by field."""


def assumed_rates(machines: Machines, dtype: str, threads: int, on_gpu: bool, n_nodes: int) -> Rates:
    """Of a rank with `threads` cores, or a GPU of `machines`, in a group that spans `n_nodes`."""
    kind = machines.kind
    assumed: dict[str, tuple[float, str]] = {
        "read_bytes_per_s": (1e9, "assumed: a file system at 1 GB/s a node"),
        "score_slowdown": (4.0, "measured on a CPU (docs/benchmarks.md, full detection at 64 to 256 tokens)"),
    }
    if not on_gpu or kind is None:
        core_flops, said = _CORE_FLOPS, f"assumed: {_CORE_FLOPS / 1e9:.0f} GFLOP/s a core"
        if machines.core_flops is not None:
            core_flops = _OF_PRODUCTS * machines.core_flops
            said = (
                f"{_OF_PRODUCTS:.0%} of {machines.core_flops / 1e9:.0f} GFLOP/s a core, measured in a product"
            )
        assumed |= {
            "flops_per_s": (core_flops * threads, said),
            "gather_bytes_per_s": (1e9, "assumed: gloo within a machine"),
            "memory_bytes_per_s": (1e10, "assumed: main memory"),
        }
    else:
        peak = kind.bfloat16_flops if dtype == "bfloat16" else kind.float32_flops
        of_peak = f"{_UTILISATION:.0%} of {kind.name}'s {peak / 1e12:.0f} TFLOP/s in {dtype}"
        within = (0.5 * kind.link_bytes_per_s, f"assumed: half of {kind.name}'s link")
        between = (2.5e10, "assumed: 200 Gbit/s a rank between nodes")
        assumed |= {
            "flops_per_s": (_UTILISATION * peak, f"assumed: {of_peak}"),
            "gather_bytes_per_s": between if n_nodes > 1 else within,
            "host_bytes_per_s": (1.2e10, "assumed: PCIe 4"),
            "memory_bytes_per_s": (kind.memory_bytes_per_s, f"{kind.name}'s data sheet"),
        }
    rates = {name: rate for name, (rate, _) in assumed.items()}
    return Rates(**rates, origin={name: origin for name, (_, origin) in assumed.items()})
