"""The smallest change of the configuration with which a stage fits: changes are tried in the planner itself, fewest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from pydantic import ValidationError

from polyneuron.cluster.capacity.calibration import Measured
from polyneuron.cluster.capacity.devices import Machines
from polyneuron.cluster.capacity.estimate import missing
from polyneuron.cluster.capacity.shape import VALUE_BYTES, ModelShape
from polyneuron.pipelines.config.load import with_overrides
from polyneuron.pipelines.config.study import StudyConfig
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

    by_stage: dict[str, tuple[str, ...] | None]
    together: tuple[str, ...] | None
    devices: int | None = None


def advise(
    config: StudyConfig,
    index: int,
    shape: ModelShape,
    machines: Machines,
    measured: Measured | None,
    stages: Sequence[str],
) -> Advice:
    """What to change so that `stages` of model `index` fit the machines. measured: as the stages were planned with."""
    by_stage = {name: _smallest(config, index, shape, machines, measured, (name,)) for name in stages}
    every = tuple(stage.name for stage in stages_of(config, config.models[index], shape, machines, measured))
    together: tuple[str, ...] | None = None
    rest = tuple(name for name in every if by_stage.get(name, ()) is not None)
    merged = tuple(dict.fromkeys(key for change in by_stage.values() for key in change or ()))
    if merged:
        together = merged if _fits(config, merged, index, shape, machines, measured, rest) else None
        if together is None:
            together = _smallest(config, index, shape, machines, measured, rest)
    devices = None
    if machines.kind is not None and any(change is None for change in by_stage.values()):
        devices = _fewest(config, index, shape, machines, measured, stages)
    return Advice(by_stage, together, devices)


def _smallest(
    config: StudyConfig,
    index: int,
    shape: ModelShape,
    machines: Machines,
    measured: Measured | None,
    stages: Sequence[str],
) -> tuple[str, ...] | None:
    options = [change for name in stages for change in _options(config, index, shape, machines, name)]
    options = list(dict.fromkeys(options))
    sizes = list(_world_sizes(config, machines))
    starts: list[Change] = [()]
    if config.cluster.world_size * config.cluster.gpus_per_worker > machines.n_devices and set(stages) != {
        "evaluation"
    }:
        starts, options = sizes, [change for change in options if change not in sizes]  # it must shrink first
    for n in range(_MOST_CHANGES + 1):
        for start in starts:
            for chosen in combinations(options, n):
                overrides = (*start, *(override for change in chosen for override in change))
                keys = [override.partition("=")[0] for override in overrides]
                if len(set(keys)) < len(keys):
                    continue
                if overrides and _fits(config, overrides, index, shape, machines, measured, stages):
                    return overrides
    return None


def _fits(
    config: StudyConfig,
    overrides: Iterable[str],
    index: int,
    shape: ModelShape,
    machines: Machines,
    measured: Measured | None,
    stages: Sequence[str],
) -> bool:
    try:
        changed = with_overrides(config, tuple(overrides))
    except ValidationError:
        return False
    model = changed.models[index]
    shape = replace(shape, value_bytes=VALUE_BYTES[model.dtype])
    found = (s for s in stages_of(changed, model, shape, machines, measured) if s.name in stages)
    return not any(missing(stage, machines) for stage in found)


def _options(
    config: StudyConfig, index: int, shape: ModelShape, machines: Machines, stage: str
) -> Iterator[Change]:
    """Single changes, in the order in which they are preferred: those that cost least come first."""
    if stage == "evaluation":
        yield from _engine_options(config, shape, machines)
        return
    yield from _world_sizes(config, machines)
    if stage == "training":
        micro = config.training.micro_batch
        yield from ((f"training.micro_batch={n}",) for n in _halves(micro))
        yield ("training.zero_stage=3",)
        yield from ((f"training.recomputed_layers={share}",) for share in (0.3, 1.0))
    elif stage == "perplexity":
        yield from ((f"ablation.variants_per_pass={n}",) for n in _halves(config.ablation.variants_per_pass))
        yield from ((f"ablation.batch_size={n}",) for n in _halves(config.ablation.batch_size))
    else:
        yield from ((f"detection.batch_size={n}",) for n in _halves(config.detection.batch_size))
    if config.cluster.hidden_states_gib > 1 and stage != "training":
        yield ("cluster.hidden_states_gib=1",)
    if config.cluster.offload == "none" and config.cluster.gpus_per_worker:
        yield ("cluster.offload=cpu",)
    if config.cluster.weights == "shard" and stage != "training":
        yield ("cluster.weights=stream",)
    if config.models[index].dtype == "float32":
        yield (f"models.{index}.dtype=bfloat16",)


def _world_sizes(config: StudyConfig, machines: Machines) -> Iterator[Change]:
    cluster = config.cluster
    if cluster.gpus_per_worker:
        most = int(machines.n_devices / cluster.gpus_per_worker)
    else:
        most = machines.n_nodes * machines.cores // cluster.threads_per_worker
    sizes = {most, *_halves(most)} - {cluster.world_size, 0}
    # As many ranks as were asked for, or as there can be, before fewer.
    yield from ((f"cluster.world_size={n}",) for n in sorted(sizes, reverse=True))
    if cluster.gpus_per_worker and not machines.n_devices:
        yield ("cluster.gpus_per_worker=0", f"cluster.world_size={min(cluster.world_size, machines.n_nodes)}")


def _engine_options(config: StudyConfig, shape: ModelShape, machines: Machines) -> Iterator[Change]:
    engine = config.evaluation.engine
    if machines.n_devices:
        for n in (1, 2, 4, 8, 16):
            ranks = n * engine.pipeline_parallel
            if shape.n_heads % n == 0 and ranks <= machines.devices_per_node and ranks != engine.gpus:
                yield (f"{_ENGINE}.tensor_parallel={n}", f"{_ENGINE}.gpus={ranks}")
    elif engine.gpus:
        yield (f"{_ENGINE}.gpus=0", f"{_ENGINE}.tensor_parallel=1", f"{_ENGINE}.pipeline_parallel=1")
    yield from ((f"{_ENGINE}.max_model_len={n}",) for n in _halves(engine.max_model_len) if n >= 1024)
    yield from ((f"{_ENGINE}.max_num_seqs={n}",) for n in _halves(engine.max_num_seqs) if n >= 8)
    if engine.gpus and engine.gpu_memory_utilization < 0.9:
        yield (f"{_ENGINE}.gpu_memory_utilization=0.9",)
    if not engine.gpus:
        yield from ((f"{_ENGINE}.kv_cache_gib={n}",) for n in (1, 2, 4, 8) if n != engine.kv_cache_gib)


def _fewest(
    config: StudyConfig,
    index: int,
    shape: ModelShape,
    machines: Machines,
    measured: Measured | None,
    stages: Sequence[str],
) -> int | None:
    """Devices of this kind, in powers of two and at most `DEVICES_ON_NODE` to a node."""
    host_per_device = machines.host_bytes // max(1, machines.devices_per_node)
    for n in (1, 2, 4, 8, 16, 32, 64):
        on_node = min(n, DEVICES_ON_NODE)
        # What is at hand does not fit; as many, more of them in a node, may.
        if n <= machines.n_devices and on_node <= machines.devices_per_node:
            continue
        larger = replace(
            machines,
            n_nodes=n // on_node,
            devices_per_node=on_node,
            host_bytes=on_node * host_per_device,
            cores=on_node * machines.cores // max(1, machines.devices_per_node),
        )
        if all(
            _fits(config, (), index, shape, larger, measured, (name,))
            or _smallest(config, index, shape, larger, measured, (name,)) is not None
            for name in stages
        ):
            return n
    return None


def _halves(n: int) -> list[int]:
    """n / 2, n / 4, ... 1."""
    found = []
    while n > 1:
        n //= 2
        found.append(n)
    return found
