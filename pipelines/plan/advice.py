"""The smallest change of the configuration with which a stage fits: changes are tried in the planner itself, fewest first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from pydantic import ValidationError

from polyneuron.cluster.capacity.estimate import missing
from polyneuron.pipelines.plan.case import PlannedCase
from polyneuron.pipelines.plan.stages import stages_of

Change = tuple[str, ...]
"""Overrides that only make sense together."""

_MOST_CHANGES = 3
_ENGINE = "evaluation.engine"
DEVICES_ON_NODE = 8
"""At most, where a number of devices is suggested."""


@dataclass(frozen=True)
class Advice:
    """by_stage: overrides with which the stage fits, None where none was found; together: overrides with which all stages fit at
    once, those without a way out left aside, None where there are none; devices: the fewest devices of the kind at hand with
    which these would fit as well."""

    by_stage: dict[str, Change | None]
    together: Change | None
    devices: int | None = None


def advise(case: PlannedCase, stages: Sequence[str]) -> Advice:
    """What to change so that `stages` fit the machines."""
    by_stage = {name: _smallest(case, (name,)) for name in stages}
    rest = [stage.name for stage in stages_of(case) if by_stage.get(stage.name, ()) is not None]
    merged = tuple(dict.fromkeys(key for change in by_stage.values() for key in change or ()))
    together = None
    if merged:
        together = merged if _fits(case, merged, rest) else _smallest(case, rest)
    helpless = case.machines.kind is not None and None in by_stage.values()
    return Advice(by_stage, together, _fewest_devices(case, stages) if helpless else None)


def _smallest(case: PlannedCase, stages: Sequence[str]) -> Change | None:
    cluster = case.config.cluster
    options = list(dict.fromkeys(change for name in stages for change in _options(case, name)))
    starts: list[Change] = [()]
    too_large = cluster.world_size * cluster.gpus_per_worker > case.machines.n_devices
    if too_large and set(stages) != {"evaluation"}:
        starts = list(_world_sizes(case))  # it must shrink first
        options = [change for change in options if change not in starts]
    for n in range(_MOST_CHANGES + 1):
        for start in starts:
            for chosen in combinations(options, n):
                overrides = (*start, *(override for change in chosen for override in change))
                keys = {override.partition("=")[0] for override in overrides}
                if overrides and len(keys) == len(overrides) and _fits(case, overrides, stages):
                    return overrides
    return None


def _fits(case: PlannedCase, overrides: Change, stages: Sequence[str]) -> bool:
    try:
        changed = case.changed(overrides)
    except ValidationError:
        return False
    return not any(missing(s, case.machines) for s in stages_of(changed) if s.name in stages)


def _options(case: PlannedCase, stage: str) -> Iterator[Change]:
    """Single changes, in the order in which they are preferred: those that cost least come first."""
    if stage == "evaluation":
        yield from _engine_options(case)
        return
    config, cluster = case.config, case.config.cluster
    yield from _world_sizes(case)
    if stage == "training":
        yield from _halved("training.micro_batch", config.training.micro_batch)
        yield ("training.zero_stage=3",)
        yield from ((f"training.recomputed_layers={share}",) for share in (0.3, 1.0))
    elif stage == "perplexity":
        yield from _halved("ablation.variants_per_pass", config.ablation.variants_per_pass)
        yield from _halved("ablation.batch_size", config.ablation.batch_size)
    else:
        yield from _halved("detection.batch_size", config.detection.batch_size)
    if stage == "detection" and config.detection.noise_floor != "off":
        yield ("detection.noise_floor=off",)
    if cluster.hidden_states_gib > 1 and stage != "training":
        yield ("cluster.hidden_states_gib=1",)
    if cluster.offload == "none" and cluster.gpus_per_worker:
        yield ("cluster.offload=cpu",)
    if cluster.weights == "shard" and stage != "training":
        yield ("cluster.weights=stream",)
    if case.model.dtype == "float32":
        yield (f"models.{case.index}.dtype=bfloat16",)


def _world_sizes(case: PlannedCase) -> Iterator[Change]:
    cluster, machines = case.config.cluster, case.machines
    if cluster.gpus_per_worker:
        most = int(machines.n_devices / cluster.gpus_per_worker)
    else:
        most = machines.n_nodes * machines.cores // cluster.threads_per_worker
    sizes = {most, *_halves(most)} - {cluster.world_size, 0}
    # As many ranks as were asked for, or as there can be, before fewer.
    yield from ((f"cluster.world_size={n}",) for n in sorted(sizes, reverse=True))
    if cluster.gpus_per_worker and not machines.n_devices:
        yield ("cluster.gpus_per_worker=0", f"cluster.world_size={min(cluster.world_size, machines.n_nodes)}")


def _engine_options(case: PlannedCase) -> Iterator[Change]:
    engine, machines = case.config.evaluation.engine, case.machines
    if machines.n_devices:
        for n in (1, 2, 4, 8, 16):
            ranks = n * engine.pipeline_parallel
            if case.shape.n_heads % n == 0 and ranks <= machines.devices_per_node and ranks != engine.gpus:
                yield (f"{_ENGINE}.tensor_parallel={n}", f"{_ENGINE}.gpus={ranks}")
    elif engine.gpus:
        yield (f"{_ENGINE}.gpus=0", f"{_ENGINE}.tensor_parallel=1", f"{_ENGINE}.pipeline_parallel=1")
    yield from _halved(f"{_ENGINE}.max_model_len", engine.max_model_len, least=1024)
    yield from _halved(f"{_ENGINE}.max_num_seqs", engine.max_num_seqs, least=8)
    if engine.gpus and engine.gpu_memory_utilization < 0.9:
        yield (f"{_ENGINE}.gpu_memory_utilization=0.9",)
    if not engine.gpus:
        yield from ((f"{_ENGINE}.kv_cache_gib={n}",) for n in (1, 2, 4, 8) if n != engine.kv_cache_gib)


def _fewest_devices(case: PlannedCase, stages: Sequence[str]) -> int | None:
    """Devices of this kind, in powers of two and at most `DEVICES_ON_NODE` to a node."""
    machines = case.machines
    had = max(1, machines.devices_per_node)
    for n in (1, 2, 4, 8, 16, 32, 64):
        on_node = min(n, DEVICES_ON_NODE)
        # What is at hand does not fit; as many, more of them in a node, may.
        if n <= machines.n_devices and on_node <= machines.devices_per_node:
            continue
        larger = replace(
            machines,
            n_nodes=n // on_node,
            devices_per_node=on_node,
            host_bytes=on_node * (machines.host_bytes // had),
            cores=on_node * machines.cores // had,
        )
        there = replace(case, machines=larger)
        if all(_fits(there, (), (name,)) or _smallest(there, (name,)) is not None for name in stages):
            return n
    return None


def _halved(key: str, n: int, least: int = 1) -> Iterator[Change]:
    return ((f"{key}={half}",) for half in _halves(n) if half >= least)


def _halves(n: int) -> list[int]:
    """n / 2, n / 4, ... 1."""
    return [n >> bits for bits in range(1, n.bit_length())]
