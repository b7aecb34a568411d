"""The stages of a study as the planner's numbers: what each holds, computes, gathers and reads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from polyneuron.cluster.capacity import engine as engines
from polyneuron.cluster.capacity import passes, placing, training
from polyneuron.cluster.capacity.calibration import Measured
from polyneuron.cluster.capacity.devices import Machines
from polyneuron.cluster.capacity.estimate import HEADROOM, Stage
from polyneuron.cluster.capacity.memory import GIB, Phase
from polyneuron.cluster.capacity.shape import ModelShape
from polyneuron.eval.tasks.benchmarks import BENCHMARKS
from polyneuron.pipelines.config.study import BenchmarkConfig, ModelConfig, StudyConfig
from polyneuron.pipelines.plan.units import n_activation_units, n_judged, n_variants

TRAINED_SHARE = 0.01
"""Neurons of each group that a chosen set is assumed to have; how many it has is known after detection."""
ASSUMED_DOCUMENTS = 1000
"""In place of `training.n_documents: all`; a document is taken as one block of `max_tokens`."""
_ITEMS = {
    "mgsm": 250,
    "mmmlu": 14_042,
    "mmlu": 14_042,
    "global_mmlu": 14_042,
    "mmlu_prox": 11_759,
    "xnli": 2_490,
    "xquad": 1_190,
}
"""Items of a benchmark in one language, of the split that is judged; by its name, or what the name begins with (mgsm_direct)."""
_CHOICES = {"mmmlu": 4, "mmlu": 4, "global_mmlu": 4, "xnli": 3}
"""Prompts an item; those that generate have one."""
_EXAMPLE_TOKENS = 120
"""Of one example in a prompt (assumed)."""
_LAYERS_TRAINED = {"q": 1, "k": 1, "v": 1, "ffn": 3}
"""Rows and columns that one neuron owns."""


def stages_of(
    config: StudyConfig, model: ModelConfig, shape: ModelShape, machines: Machines, measured: Measured | None
) -> Iterator[Stage]:
    """Every stage that the configuration asks for, in order."""
    yield detection_stage(config, shape, machines, measured)
    if config.activations.detectors:
        yield activation_stage(config, shape, machines)
    if config.ablation.through == "workers":
        yield perplexity_stage(config, shape, machines)
    if config.training.languages:
        yield training_stage(config, shape, machines)
    if config.evaluation.benchmarks or config.ablation.through == "engine":
        yield engine_stage(config, shape, machines, study_requests(config))


def placing_of(config: StudyConfig, machines: Machines) -> placing.Placing:
    """How the workers hold the model."""
    cluster = config.cluster
    on_gpu = cluster.gpus_per_worker > 0
    if on_gpu:
        on_node = int(max(1, machines.devices_per_node) / cluster.gpus_per_worker)
    else:
        on_node = machines.cores // cluster.threads_per_worker
    return placing.Placing(
        world_size=cluster.world_size,
        ranks_per_node=max(1, min(cluster.world_size, on_node)),
        on_gpu=on_gpu,
        offload=cluster.offload,
        weights=cluster.weights,
        hidden_states_bytes=int(cluster.hidden_states_gib * GIB),
    )


def detection_stage(
    config: StudyConfig, shape: ModelShape, machines: Machines, measured: Measured | None
) -> Stage:
    """Two passes a language: its shortest sentences, then the others."""
    where, settings, n_languages = placing_of(config, machines), config.detection, len(config.languages)
    corpus = passes.Corpus(config.corpus.n_detection, config.corpus.max_tokens, settings.batch_size)
    what = passes.Detection(settings.groups, settings.mode == "certified", settings.floor_fraction)
    scores = n_languages * passes.score_flops(shape, corpus, what)
    scale = measured.detection_memory if measured and measured.on_gpu == where.on_gpu else 1.0
    return _pass_stage(
        "detection",
        config,
        shape,
        where,
        corpus,
        passes.detection_phases(shape, where, corpus, what, scale),
        flops=n_languages * passes.forward_flops(shape, corpus, with_head=False) + scores,
        score_flops=scores,
        n_passes=2 * n_languages,
        n_rounds=n_languages,
        with_head=False,
    )


def activation_stage(config: StudyConfig, shape: ModelShape, machines: Machines) -> Stage:
    """One pass a site over the detection sentences of all languages."""
    where, n_languages = placing_of(config, machines), len(config.languages)
    corpus = passes.Corpus(
        n_languages * config.corpus.n_detection, config.corpus.max_tokens, config.detection.batch_size
    )
    n_sites, _ = n_activation_units(config)
    return _pass_stage(
        "activations",
        config,
        shape,
        where,
        corpus,
        passes.activation_phases(shape, where, corpus, n_languages),
        flops=n_sites * passes.forward_flops(shape, corpus, with_head=False),
        n_passes=n_sites,
        n_rounds=n_sites,
        with_head=False,
    )


def perplexity_stage(config: StudyConfig, shape: ModelShape, machines: Machines) -> Stage:
    """Held-out sentences of all languages under every variant, some variants a pass."""
    where, settings = placing_of(config, machines), config.ablation
    corpus = passes.Corpus(
        len(config.languages) * config.corpus.n_heldout, config.corpus.max_tokens, settings.batch_size
    )
    n_all = n_variants(config) + n_activation_units(config)[1]
    n_passes = math.ceil(n_all / settings.variants_per_pass)
    copies = min(n_all, settings.variants_per_pass)
    return _pass_stage(
        "perplexity",
        config,
        shape,
        where,
        corpus,
        passes.perplexity_phases(shape, where, corpus, copies),
        flops=n_all * passes.forward_flops(shape, corpus, with_head=True),
        n_passes=n_passes,
        n_rounds=n_passes,
        with_head=True,
        n_copies=copies,
        notes=(f"{n_all} variants in {n_passes} passes",),
    )


def _pass_stage(
    name: str,
    config: StudyConfig,
    shape: ModelShape,
    where: placing.Placing,
    corpus: passes.Corpus,
    phases: tuple[Phase, ...],
    flops: float,
    n_passes: int,
    n_rounds: int,
    with_head: bool,
    n_copies: int = 1,
    score_flops: float = 0.0,
    notes: tuple[str, ...] = (),
) -> Stage:
    """n_passes: in which weights are gathered; n_rounds: how often all of `corpus` goes through the layers, in `n_copies`."""
    times = n_rounds * shape.n_layers
    kept, spilled = (times * n for n in passes.hidden_state_bytes(shape, where, corpus, n_copies))
    moved = 0
    if where.on_gpu:
        moved = 2 * (kept + spilled)
        if where.offload != "none" or where.weights == "stream":
            whole = shape.model_bytes if where.weights == "stream" else where.share(shape.model_bytes)
            moved += n_passes * whole
    # What was spilled is written and read once a layer.
    return Stage(
        name,
        where.world_size,
        where.ranks_per_node,
        where.on_gpu,
        _devices(config),
        phases,
        flops,
        score_flops,
        placing.received(shape, where, n_passes, with_head),
        moved,
        placing.read(shape, where, n_passes, with_head),
        2 * spilled,
        notes=notes,
    )


def training_stage(config: StudyConfig, shape: ModelShape, machines: Machines) -> Stage:
    """All trainings, one after the other; memory is that of the largest set."""
    settings = config.training
    where = placing_of(config, machines)
    full = any(strategy == "full" for strategy in settings.strategies)
    scalars = sum(
        times * shape.width(group) * shape.hidden_size * shape.n_layers
        for group, times in _LAYERS_TRAINED.items()
    )
    n_trained = scalars if full else int(TRAINED_SHARE * scalars)
    n_blocks = ASSUMED_DOCUMENTS if settings.n_documents == "all" else settings.n_documents
    groups = settings.groups
    n_steps = math.ceil(n_blocks * settings.epochs / settings.global_batch)
    n_steps = min(n_steps, settings.max_steps or n_steps)
    what = training.Training(
        n_trained,
        n_steps,
        settings.global_batch,
        settings.micro_batch,
        settings.max_tokens,
        settings.zero_stage,
        settings.recomputed_layers,
    )
    n_trainings = len(groups) * len(settings.strategies) * len(settings.seeds)
    return fine_tuning_stage(config, shape, where, [what] * n_trainings)


def fine_tuning_stage(
    config: StudyConfig, shape: ModelShape, where: placing.Placing, trainings: list[training.Training]
) -> Stage:
    """Trainings one after the other, each of which loads the model."""
    largest = max(trainings, key=lambda one: (one.n_trained, one.micro_batch * one.n_tokens))
    n_micro = math.ceil(largest.global_batch / largest.micro_batch)
    idle = (f"{n_micro} micro-batches a step leave some of {where.world_size} ranks idle",)
    return Stage(
        "training",
        where.world_size,
        where.ranks_per_node,
        where.on_gpu,
        _devices(config),
        training.training_phases(shape, where, largest),
        sum(training.training_flops(shape, one) for one in trainings),
        received_bytes=sum(training.gathered_in_training(shape, where, one) for one in trainings),
        moved_bytes=sum(training.moved_in_training(shape, where, one) for one in trainings),
        read_bytes=len(trainings) * shape.model_bytes,
        notes=(
            f"{len(trainings)} x {largest.n_steps} steps, {largest.n_trained:,} scalars at most",
            *(idle if n_micro % where.world_size else ()),
        ),
    )


def study_requests(config: StudyConfig) -> engines.Requests:
    """What a study asks of the engine."""
    asked = engines.Requests()
    if config.evaluation.benchmarks:
        asked = benchmark_requests(config, n_judged(config))
    if config.ablation.through == "engine":
        n_all = n_variants(config) + n_activation_units(config)[1]
        tokens = n_all * len(config.languages) * config.corpus.n_heldout * config.corpus.max_tokens
        asked += engines.Requests(tokens)
    return asked


def benchmark_requests(config: StudyConfig, n_models: int) -> engines.Requests:
    """Every benchmark in every language for `n_models` variants."""
    evaluation = config.evaluation
    times = n_models * len(evaluation.languages or config.languages)
    each = (task_requests(config, asked) for asked in evaluation.benchmarks)
    return sum(each, engines.Requests()) * times


def task_requests(config: StudyConfig, asked: BenchmarkConfig) -> engines.Requests:
    """One benchmark in one language for one variant; answers are taken to be half as long as they may be."""
    evaluation, benchmark = config.evaluation, BENCHMARKS[asked.name]
    n_items = _ITEMS.get(asked.name) or _ITEMS[asked.name.split("_")[0]]
    n_items = min(n_items, 20 if evaluation.data == "sample" else n_items, asked.max_items or n_items)
    shots = benchmark.n_shots if asked.n_shots is None else asked.n_shots
    length = min((shots + 1) * _EXAMPLE_TOKENS, evaluation.engine.max_model_len)
    answer = (asked.max_gen_toks or benchmark.max_gen_toks or 0) // 2
    one = engines.Requests(length * _CHOICES.get(asked.name, 1), answer, answer * (length + answer // 2))
    return one * n_items


def engine_stage(
    config: StudyConfig, shape: ModelShape, machines: Machines, requests: engines.Requests
) -> Stage:
    """The engine, started once, with every variant."""
    asked = config.evaluation.engine
    on_gpu = asked.gpus > 0
    need = engines.EngineNeed(
        asked.tensor_parallel,
        asked.pipeline_parallel,
        on_gpu,
        asked.max_model_len,
        asked.max_num_seqs,
        asked.kv_cache_gib * GIB,
        asked.gpu_memory_utilization,
    )
    ranks = asked.tensor_parallel * asked.pipeline_parallel
    device_bytes = machines.kind.memory_bytes if machines.kind else 0
    phases = engines.engine_phases(shape, need, device_bytes)
    cache_bytes = phases[0].device.get("key-value cache", phases[0].host.get("key-value cache", 0))
    held = cache_bytes // engines.cache_token_bytes(shape, need)
    refused = []
    if machines.n_devices and config.cluster.gpus_per_worker and not on_gpu:
        refused.append("evaluation.engine.gpus is 0: the engine would run on the CPU beside idle GPUs")
    if machines.devices_per_node < asked.gpus <= machines.n_devices:
        refused.append(
            f"the engine is given {asked.gpus:g} GPUs of one node, and a node has {machines.devices_per_node}"
        )
    if shape.n_heads % asked.tensor_parallel:
        refused.append(
            f"{shape.n_heads} heads cannot be split over {asked.tensor_parallel} tensor-parallel ranks"
        )
    if held < asked.max_model_len:
        refused.append(f"the key-value cache holds {held:,} tokens, fewer than max_model_len")
    inside = sum(value for key, value in phases[0].device.items() if key not in ("scored logits",))
    if on_gpu and machines.kind and inside > int(asked.gpu_memory_utilization * device_bytes):
        refused.append(
            f"{inside / GIB:.1f} GiB with the shortest useful cache, more than gpu_memory_utilization allows "
            f"({asked.gpu_memory_utilization * device_bytes / GIB:.1f} GiB)"
        )
    return Stage(
        "evaluation",
        ranks,
        min(ranks, max(1, machines.devices_per_node)) if on_gpu else ranks,
        on_gpu,
        asked.gpus if on_gpu else asked.threads,
        phases,
        engines.engine_flops(shape, requests),
        read_bytes=shape.model_bytes,
        generating_bytes=engines.generating_bytes(shape, need, requests),
        notes=(
            f"cache of {held:,} tokens; {requests.prompt_tokens / 1e6:.1f} M tokens read, "
            f"{requests.generated_tokens / 1e6:.2f} M written",
        ),
        refused=tuple(refused),
    )


def _devices(config: StudyConfig) -> float:
    cluster = config.cluster
    return cluster.world_size * (cluster.gpus_per_worker or cluster.threads_per_worker)


def assumptions(config: StudyConfig) -> list[str]:
    """What the numbers of this configuration take for granted, beside rates."""
    said = [
        "sentences are as long as corpus.max_tokens allows, micro-batches are full",
        f"{HEADROOM:.0%} of a memory may be planned with",
    ]
    if config.cluster.models_at_once > 1:
        said.append("one model at a time, whatever cluster.models_at_once is")
    if config.cluster.gpus_per_worker:
        device, host = placing.LIBRARIES_DEVICE / GIB, placing.LIBRARIES_HOST / GIB
        said.append(f"libraries of a rank take {device:g} GiB on its GPU and {host:g} GiB of its node")
    if config.training.languages and "full" not in config.training.strategies:
        said.append(f"a trained set has {TRAINED_SHARE:.0%} of the neurons of each group")
    if config.training.languages:
        said.append("a training document is one block of training.max_tokens")
    if config.training.languages and config.training.n_documents == "all":
        said.append(f"training.n_documents: all is {ASSUMED_DOCUMENTS:,}")
    if config.evaluation.benchmarks:
        said.append(
            f"an example of a prompt has {_EXAMPLE_TOKENS} tokens, an answer half of what it may have"
        )
    return said


def threads_of(config: StudyConfig, stage: Any) -> int:
    """Cores of one rank."""
    return (
        config.evaluation.engine.threads if stage.name == "evaluation" else config.cluster.threads_per_worker
    )
