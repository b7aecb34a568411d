"""What a study asks of the inference engine, and the engine's stage."""

from polyneuron.cluster.capacity import engine as engines
from polyneuron.cluster.capacity.engine import Requests
from polyneuron.cluster.capacity.estimate import Stage
from polyneuron.cluster.memory import GIB
from polyneuron.eval.tasks.benchmarks import BENCHMARKS
from polyneuron.pipelines.config.evaluation import BenchmarkConfig
from polyneuron.pipelines.config.study import StudyConfig
from polyneuron.pipelines.plan.case import PlannedCase
from polyneuron.pipelines.plan.units import (
    n_activation_units,
    n_judged,
    n_variants_at_home,
    n_variants_everywhere,
)

_SAMPLE_ITEMS = 20
"""Items of a benchmark's sample, at most."""
EXAMPLE_TOKENS = 120
"""Of one example in a prompt (assumed)."""


def study_requests(config: StudyConfig) -> Requests:
    """What a study asks of the engine: every benchmark in every language for every judged variant, and perhaps the likelihood of
    held-out sentences under every variant."""
    evaluation = config.evaluation
    times = n_judged(config) * len(evaluation.languages or config.languages)
    requests = sum((task_requests(config, asked) for asked in evaluation.benchmarks), Requests()) * times
    if config.ablation.through == "engine":
        n_times = n_variants_everywhere(config) + n_variants_at_home(config) + n_activation_units(config)[1]
        n_sentences = n_times * len(config.languages) * config.corpus.n_heldout
        requests += Requests(n_sentences * config.corpus.max_tokens)
    return requests


def task_requests(config: StudyConfig, asked: BenchmarkConfig) -> Requests:
    """One benchmark in one language for one variant; answers are taken to be half as long as they may be."""
    evaluation, benchmark = config.evaluation, BENCHMARKS[asked.name]
    n_items = min(benchmark.n_items, _SAMPLE_ITEMS) if evaluation.data == "sample" else benchmark.n_items
    shots = benchmark.n_shots if asked.n_shots is None else asked.n_shots
    length = min((shots + 1) * EXAMPLE_TOKENS, evaluation.engine.max_model_len)
    answer = (asked.max_gen_toks or benchmark.max_gen_toks or 0) // 2
    of_item = Requests(length * benchmark.n_prompts, answer, answer * (length + answer // 2))
    return of_item * min(n_items, asked.max_items or n_items)


def engine_stage(case: PlannedCase, requests: Requests) -> Stage:
    """The engine, started once, with every variant."""
    asked, shape, machines = case.config.evaluation.engine, case.shape, case.machines
    on_gpu = asked.gpus > 0
    need = engines.EngineNeed(
        tensor_parallel=asked.tensor_parallel,
        pipeline_parallel=asked.pipeline_parallel,
        on_gpu=on_gpu,
        max_model_len=asked.max_model_len,
        max_num_seqs=asked.max_num_seqs,
        cache_bytes=asked.kv_cache_gib * GIB,
        utilisation=asked.gpu_memory_utilization,
    )
    device_bytes = machines.kind.memory_bytes if machines.kind else 0
    scoring = engines.engine_phase(shape, need, device_bytes)
    held = scoring.device if on_gpu else scoring.host
    n_cached = held["key-value cache"] // engines.cache_token_bytes(shape, need)
    refused = []
    if machines.n_devices and case.config.cluster.gpus_per_worker and not on_gpu:
        refused.append("evaluation.engine.gpus is 0: the engine would run on the CPU beside idle GPUs")
    if machines.devices_per_node < asked.gpus <= machines.n_devices:
        refused.append(
            f"the engine is given {asked.gpus:g} GPUs of one node, and a node has {machines.devices_per_node}"
        )
    if shape.n_heads % asked.tensor_parallel:
        refused.append(
            f"{shape.n_heads} heads cannot be split over {asked.tensor_parallel} tensor-parallel ranks"
        )
    if n_cached < asked.max_model_len:
        refused.append(f"the key-value cache holds {n_cached:,} tokens, fewer than max_model_len")
    inside, allowed = (
        scoring.device_bytes - held["scored logits"],
        asked.gpu_memory_utilization * device_bytes,
    )
    if on_gpu and machines.kind and inside > int(allowed):
        refused.append(
            f"{inside / GIB:.1f} GiB with the shortest useful cache, more than gpu_memory_utilization allows "
            f"({allowed / GIB:.1f} GiB)"
        )
    n_ranks = asked.tensor_parallel * asked.pipeline_parallel
    return Stage(
        name="evaluation",
        world_size=n_ranks,
        ranks_per_node=min(n_ranks, max(1, machines.devices_per_node)) if on_gpu else n_ranks,
        on_gpu=on_gpu,
        devices=asked.gpus if on_gpu else asked.threads,
        phases=(scoring,),
        flops=engines.engine_flops(shape, requests),
        read_bytes=shape.model_bytes,
        generating_bytes=engines.generating_bytes(shape, need, requests),
        notes=(
            f"cache of {n_cached:,} tokens; {requests.prompt_tokens:,} tokens read, {requests.generated_tokens:,} written",
        ),
        refused=tuple(refused),
    )
