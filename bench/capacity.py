"""The planner against reality: predicted and measured peak memory of a rank, stage by stage.

python -m bench.capacity                          SmolLM2-135M, Gemma-3-270M, random Llamas of 1B and 3B; 1 and 2 ranks
python -m bench.capacity SmolLM2-135M --ranks 1   some of it

Peaks are resident bytes of the worker's process (VmHWM), counted anew before every stage; loading has its own row. Random
models are written to a temporary folder and removed (the 3B one takes 6 GB there). Sentences have exactly as many tokens as
the planner assumes.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from bench.measuring import peak_of_ranks, print_row, rows_of_process
from bench.models import gemma3, llama_config, random_neurons, random_sentences, smollm2, write_llama
from polyneuron.cluster.capacity import passes
from polyneuron.cluster.capacity.engine import EngineNeed, cache_token_bytes, engine_phase
from polyneuron.cluster.capacity.placing import Placing, fullest
from polyneuron.cluster.capacity.shape import ModelShape, shape_of
from polyneuron.cluster.capacity.training import PlannedTraining, training_phases
from polyneuron.cluster.memory import GIB, MIB, peak_resident_bytes
from polyneuron.neuron_core.model.groups import DEFAULT_GROUPS
from polyneuron.neuron_core.passes.limits import FLOOR_FRACTION

SMALL = {"SmolLM2-135M": smollm2, "Gemma-3-270M": gemma3}
DTYPES = {"llama-1B": "float32", "llama-3B": "bfloat16"}
"""Of the random models, with Llama 3's vocabulary of 128,256."""
VOCABULARY = 128_256
N_SENTENCES, N_TOKENS, BATCH, N_VARIANTS = 24, 32, 8, 4
ROOM_BYTES = 9 * GIB
"""Free memory that a run of the random models wants."""
PROMPT_TOKENS, N_PROMPTS = 1000, 8
ENGINE = EngineNeed(on_gpu=False, max_model_len=1024, max_num_seqs=8, cache_bytes=GIB)
STEPS, MICRO_BATCH, BLOCK_TOKENS = 3, 4, 128


def main() -> None:
    """Prints a line a stage: predicted, measured, their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    names = (*SMALL, *DTYPES)
    parser.add_argument("models", nargs="*", help=f"of {', '.join(names)} (default: all)")
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--run", nargs=3, metavar=("MODEL", "FOLDER", "RANKS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        name, folder, ranks = arguments.run
        for row in measure(name, Path(folder), int(ranks)):
            print_row(row)
        return
    for name in arguments.models or names:
        with tempfile.TemporaryDirectory(prefix="capacity-") as scratch:
            if name in DTYPES and psutil.virtual_memory().available < ROOM_BYTES:
                print(f"{name}: skipped, {ROOM_BYTES / GIB:.0f} GiB of free memory are needed")
                continue
            folder = folder_of(name, Path(scratch))
            for ranks in arguments.ranks:
                for row in measure_in_own_process(name, folder, ranks):
                    print(line_of(row), flush=True)


def line_of(row: dict[str, Any]) -> str:
    """One row of the table."""
    return (
        f"{row['model']:13} {row['ranks']} rank{'s' if row['ranks'] > 1 else ' '} {row['stage']:12} predicted "
        f"{row['predicted'] / MIB:6.0f} MiB, measured {row['measured'] / MIB:6.0f} MiB, ratio "
        f"{row['predicted'] / row['measured']:.2f}"
    )


def measure_in_own_process(name: str, folder: Path, ranks: int) -> Iterator[dict[str, Any]]:
    """The rows of `measure`, from a process with a Ray of its own, so that nothing is left of the one before."""
    return rows_of_process("bench.capacity", name, str(folder), str(ranks), OMP_NUM_THREADS="1")


def folder_of(name: str, scratch: Path) -> Path:
    """Where the model lies; a random one is made in `scratch`."""
    from polyneuron.neuron_core.model.load import resolve_model

    if name in SMALL:
        return Path(resolve_model(SMALL[name]()))
    return write_llama(scratch / name, llama_config(name, VOCABULARY, dtype=DTYPES[name]))


def planned_bytes(shape: ModelShape, ranks: int) -> dict[str, int]:
    """Returns the planner's peak of a rank in every stage that is measured here."""
    where = Placing(shape=shape, world_size=ranks, ranks_per_node=ranks)
    corpus = passes.Corpus(N_SENTENCES, N_TOKENS, BATCH)
    trained = {
        f"training, {zero_stage}": training_phases(where, planned_training(shape, ranks, zero_stage))
        for zero_stage in (2, 3)
    }
    phases = {
        "loading": (where.phase("loading", {}, {}),),
        "detection": passes.detection_phases(
            where, corpus, passes.Detection(DEFAULT_GROUPS, True, FLOOR_FRACTION)
        ),
        "perplexity": passes.perplexity_phases(where, corpus, N_VARIANTS),
        "activations": passes.activation_phases(where, corpus, 1),
        "engine": (engine_phase(shape, ENGINE, 0),),
        **trained,
    }
    return {stage: fullest(held, on_gpu=False).host_bytes for stage, held in phases.items()}


def planned_training(shape: ModelShape, ranks: int, zero_stage: Any) -> PlannedTraining:
    """Returns the training of a hundredth of the neurons of each group."""
    rows = sum(
        times * max(1, shape.width(group) // 100)
        for group, times in zip(DEFAULT_GROUPS, (1, 1, 1, 3), strict=True)
    )
    return PlannedTraining(
        n_trained=rows * shape.hidden_size * shape.n_layers,
        n_steps=STEPS,
        global_batch=MICRO_BATCH * ranks,
        micro_batch=MICRO_BATCH,
        n_tokens=BLOCK_TOKENS,
        zero_stage=zero_stage,
        recomputed_layers=0.0,
    )


def measure(name: str, folder: Path, ranks: int) -> Iterator[dict[str, Any]]:
    """Runs every stage of one model on a group of ranks; rows with predicted and measured bytes."""
    from polyneuron.cluster.actors.session import ray_session
    from polyneuron.cluster.spec import GroupSpec, ModelSpec
    from polyneuron.neuron_core.model.opening import load_config

    dtype = DTYPES.get(name, "float32")
    hf_config = load_config(folder)
    shape = shape_of(hf_config, dtype)
    predicted = planned_bytes(shape, ranks)
    model, group = ModelSpec(source=str(folder), dtype=dtype), GroupSpec(world_size=ranks)
    with ray_session(ranks):
        measured = [_passes(model, group)]
        if name in SMALL and ranks == 1:
            measured.append(_engine(folder, shape))
        if name in SMALL:
            measured.append(_training(hf_config, shape, model, group))
        for stage, n_bytes in itertools.chain.from_iterable(measured):
            row = {"stage": stage, "predicted": predicted[stage], "measured": n_bytes}
            yield {"model": name, "ranks": ranks} | row


def _passes(model: Any, spec: Any) -> Iterator[tuple[str, int]]:
    from polyneuron.cluster.actors.group import ModelGroup
    from polyneuron.cluster.ranks.activations import statistics_pass
    from polyneuron.neuron_core.impacts.detect import detect_language, detection_pass, merge_passes
    from polyneuron.neuron_core.measures.perplexity import sentence_nlls
    from polyneuron.neuron_core.passes.batches import micro_batches

    sentences = random_sentences(N_SENTENCES, N_TOKENS)
    batches = micro_batches(sentences, BATCH)
    with ModelGroup(model, spec) as group:
        yield "loading", peak_of_ranks(group)

        def detect(some: Any, candidates: Any) -> Any:
            return merge_passes(group.run(detection_pass, some, groups=DEFAULT_GROUPS, candidates=candidates))

        stages: dict[str, Callable[[], Any]] = {
            "detection": lambda: detect_language(detect, sentences, DEFAULT_GROUPS, batch_size=BATCH),
            "perplexity": lambda: group.run(sentence_nlls, batches, edits=[None] * N_VARIANTS),
            "activations": lambda: group.run(statistics_pass, batches, languages=("x",), site="matched"),
        }
        for stage, run in stages.items():
            group.reset_stats()
            run()
            yield stage, peak_of_ranks(group)


class Scoring:
    """A vLLM engine in an actor of its own, as in studies."""

    def __init__(self, settings: Any) -> None:
        from polyneuron.eval.engines.settings import start_engine

        self._engine = start_engine(settings)

    def peak(self, sentences: list[Any]) -> int:
        """Peak resident bytes since the engine began to start, sentences scored."""
        self._engine.sentence_nlls(sentences)
        return peak_resident_bytes()

    def cached_tokens(self) -> int:
        """Tokens that the engine's cache holds for all layers (a model with windows has pools for some layers each)."""
        core = self._engine._llm.llm_engine.engine_core.engine_core
        cache = core.vllm_config.cache_config
        pools = len(core.scheduler.kv_cache_config.kv_cache_groups)
        return int(cache.num_gpu_blocks * cache.block_size // pools)


def _engine(folder: Path, shape: ModelShape) -> Iterator[tuple[str, int]]:
    from polyneuron.cluster.actors.solo import SoloActor
    from polyneuron.eval.engines.settings import EngineSettings

    sizes: dict[str, int] = dict(max_model_len=ENGINE.max_model_len, max_num_seqs=ENGINE.max_num_seqs)
    settings = EngineSettings(source=str(folder), backend="vllm", dtype="float32", add_bos=False, **sizes)
    with SoloActor(Scoring, (settings,)) as actor:
        measured = actor.call("peak", random_sentences(N_PROMPTS, PROMPT_TOKENS))
        cached = actor.call("cached_tokens")
    planned = ENGINE.cache_bytes // cache_token_bytes(shape, ENGINE)
    said = f"{folder.name}: the cache is planned to hold {planned:,} tokens and holds {cached:,}"
    print(said, file=sys.stderr)  # standard output is rows
    yield "engine", measured


def _training(hf_config: Any, shape: ModelShape, model: Any, spec: Any) -> Iterator[tuple[str, int]]:
    from polyneuron.cluster.actors.group import ModelGroup
    from polyneuron.cluster.ranks.training import TrainJob, train_rank
    from polyneuron.neuron_core.model.anatomy import anatomy_of
    from polyneuron.neuron_core.training.data.feed import with_attention
    from polyneuron.neuron_core.training.loop.settings import TrainSettings

    settings = TrainSettings(
        n_steps=STEPS, global_batch=MICRO_BATCH * spec.world_size, micro_batch=MICRO_BATCH
    )
    neurons = random_neurons(anatomy_of(hf_config), lambda width: width // 100)
    n_blocks = settings.global_batch
    work: dict[str, Callable[[Any], Any]] = {
        "blocks_of_step": lambda step: range(n_blocks * step, n_blocks * (step + 1)),
        "make_batch": partial(_batch, with_attention(hf_config), model.dtype),
    }
    for zero_stage in (2, 3):
        planned, kind = planned_training(shape, spec.world_size, zero_stage), f"zero{zero_stage}"
        with tempfile.TemporaryDirectory(prefix="capacity-") as scratch:
            job = TrainJob(
                neuron_set=neurons,
                settings=settings,
                zero_stage=planned.zero_stage,
                recomputed_layers=planned.recomputed_layers,
                key="key",
                folder=scratch,
                name="tuned",
            )
            with ModelGroup(model, spec, kind) as group:  # type: ignore[arg-type]
                group.reset_stats()
                results = group.run(train_rank, [], job=job, **work)
                assert results[0].n_trainable == planned.n_trained
                yield f"training, {zero_stage}", peak_of_ranks(group)


def _batch(config: Any, dtype: str, numbers: Sequence[int]) -> Any:
    """Random blocks, as training packs documents: one document a block."""
    import torch

    from polyneuron.neuron_core.training.data.packed_batch import Block, PackedBatch

    where, zeros = torch.arange(BLOCK_TOKENS), torch.zeros(BLOCK_TOKENS, dtype=torch.int64)
    blocks = []
    for number in numbers:
        ids = torch.randint(100, 40_000, (BLOCK_TOKENS,), generator=torch.Generator().manual_seed(number))
        blocks.append(Block(ids, where, zeros, ids))
    return PackedBatch(blocks, config, getattr(torch, dtype))


if __name__ == "__main__":
    main()
