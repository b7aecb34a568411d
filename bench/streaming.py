"""A 7B-shaped Llama in a worker that may not use 4 GB: detection and perplexity with weights streamed from the files.

    python -m bench.streaming [--layers 32] [--threads 2] [--sentences 6] [--tokens 24] [--hidden-gib 0.001]
                                   [--folder FOLDER]

Writes random bfloat16 weights (about 13.5 GB at 32 layers) to a temporary folder, one file a layer, and removes
them afterwards; a folder given by --folder is kept, and used again when it is there. The worker's private memory is held
by RLIMIT_DATA. The impacts of layer 0 are compared bit for bit with an ordinary forward of a model that is the first layer.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig

from polyneuron.cluster.actors.group import ModelGroup
from polyneuron.cluster.actors.session import ray_session
from polyneuron.cluster.memory import peak_resident_bytes
from polyneuron.cluster.spec import GroupSpec, ModelSpec
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.impacts.detect import Candidates, detect_language, detection_pass, merge_passes
from polyneuron.neuron_core.measures.perplexity import sentence_nlls
from polyneuron.neuron_core.model.groups import DEFAULT_GROUPS
from polyneuron.neuron_core.model.load import from_pretrained, load_config
from polyneuron.neuron_core.passes.batches import MicroBatch, Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from polyneuron.neuron_core.sets.neuron_set import NeuronSet

LIMIT_BYTES = 4 * 10**9
GIB = 2**30


def write_model(folder: Path, n_layers: int) -> None:
    """Random weights in Llama-2-7B's shape, never more than one layer of them in memory."""
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=4096,
        intermediate_size=11_008,
        num_hidden_layers=n_layers,
        num_attention_heads=32,
        num_key_value_heads=32,
        dtype="bfloat16",
    )
    generator = np.random.Generator(np.random.SFC64(0))

    def drawn(*shape: int) -> torch.Tensor:
        """Random signs and mantissas, exponent -6: from 0.016 to 0.031 in size. Normal values take ten times as long."""
        bits = generator.integers(0, 2**16, shape, np.uint16)
        return torch.from_numpy(bits & 0x807F | 0x3C80).view(torch.bfloat16)

    wide, narrow = config.intermediate_size, config.hidden_size
    index: dict[str, str] = {}

    def write(name: str, tensors: dict[str, torch.Tensor]) -> None:
        save_file(tensors, folder / name, {"format": "pt"})
        index.update(dict.fromkeys(tensors, name))

    write(
        "outside.safetensors",
        {
            "model.embed_tokens.weight": drawn(config.vocab_size, narrow),
            "model.norm.weight": torch.ones(narrow, dtype=torch.bfloat16),
            "lm_head.weight": drawn(config.vocab_size, narrow),
        },
    )
    for layer in range(n_layers):
        at = f"model.layers.{layer}"
        write(
            f"layer-{layer:02}.safetensors",
            {
                **{f"{at}.self_attn.{p}_proj.weight": drawn(narrow, narrow) for p in "qkvo"},
                f"{at}.mlp.gate_proj.weight": drawn(wide, narrow),
                f"{at}.mlp.up_proj.weight": drawn(wide, narrow),
                f"{at}.mlp.down_proj.weight": drawn(narrow, wide),
                **{
                    f"{at}.{n}_layernorm.weight": torch.ones(narrow, dtype=torch.bfloat16)
                    for n in ("input", "post_attention")
                },
            },
        )
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    config.save_pretrained(folder)


def held(runner: LayerMajor, batches: Sequence[MicroBatch], limit_bytes: int, progress: Any = None) -> int:
    """On the worker: private memory beyond `limit_bytes` is refused by the kernel. Returns the peak until now."""
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    return peak_resident_bytes()


def spilled(runner: LayerMajor, batches: Sequence[MicroBatch], progress: Any = None) -> int:
    """On the worker: bytes of hidden states that these batches put into the file at once."""
    with runner.gathered_before():
        running = [runner.begin(batch) for batch in batches]
    return runner.hidden.spilled_bytes if running else 0


def timed(group: ModelGroup, name: str, n_tokens: int, work: Callable[[], Any]) -> Any:
    """Runs `work` and prints what it took."""
    group.reset_stats()
    start = time.perf_counter()
    result = work()
    seconds, stats = time.perf_counter() - start, group.stats()[0]
    print(
        f"{name}: {seconds:.1f} s, {n_tokens / seconds:.2f} tokens/s, {stats['bytes_read'] / GIB:.1f} GiB read "
        f"({stats['bytes_read'] / stats['model_bytes']:.2f} models, {stats['bytes_read'] / GIB / seconds:.2f} GiB/s), "
        f"peak resident {stats['peak_resident_bytes'] / 10**9:.2f} GB",
        flush=True,
    )
    return result


def main() -> None:
    """Writes the model, runs the passes in a held worker, compares with the prefix, prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sentences", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--hidden-gib", type=float, default=0.001)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="polyneuron-7b-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "config.json").exists():
            start = time.perf_counter()
            write_model(folder, options.layers)
            print(
                f"written in {time.perf_counter() - start:.0f} s; peak of the writer {peak_resident_bytes() / 10**9:.2f} GB"
            )
        run(folder, options)


def run(folder: Path, options: argparse.Namespace) -> None:
    """All passes and the comparison."""
    generator = torch.Generator().manual_seed(1)
    corpora = {
        language: [
            Sentence(language, i, tuple(ids))
            for i, ids in enumerate(
                torch.randint(3, 32_000, (options.sentences, options.tokens), generator=generator).tolist()
            )
        ]
        for language in ("aa", "bb")
    }
    both = micro_batches([sentence for sentences in corpora.values() for sentence in sentences], 4)
    n_tokens = sum(len(s.token_ids) for sentences in corpora.values() for s in sentences)
    spec = ModelSpec(
        source=str(folder), dtype="bfloat16", weights="stream", hidden_states_gib=options.hidden_gib
    )
    with (
        ray_session(options.threads),
        ModelGroup(spec, GroupSpec(threads_per_worker=options.threads, max_restarts=0)) as group,
    ):
        before = group.run(held, both, limit_bytes=LIMIT_BYTES)[0]
        model_bytes = group.stats()[0]["model_bytes"]
        print(
            f"model {model_bytes / 10**9:.2f} GB in bfloat16; private memory of the worker held at {LIMIT_BYTES / 10**9:.1f} GB; "
            f"resident before the first pass {before / 10**9:.2f} GB; hidden states in the file "
            f"{group.run(spilled, both)[0] / 2**20:.1f} MiB",
            flush=True,
        )
        found = timed(
            group, "every neuron of every sentence", n_tokens,
            lambda: merge_passes(group.run(detection_pass, both, groups=DEFAULT_GROUPS)),
        )  # fmt: skip

        def run_pass(batches: list[MicroBatch], candidates: Candidates | None) -> Any:
            return merge_passes(
                group.run(detection_pass, batches, groups=DEFAULT_GROUPS, candidates=candidates)
            )

        for language, sentences in corpora.items():
            timed(
                group, f"certified detection of {language}", n_tokens // 2,
                lambda sentences=sentences: detect_language(run_pass, sentences, batch_size=4),  # type: ignore[misc]
            )  # fmt: skip
        anatomy = group.run(anatomy_on_worker, both)[0]
        members = {(layer, "ffn"): range(20) for layer in range(anatomy.n_layers)}
        edit = WeightEdit.zero(NeuronSet.from_indices("7b", anatomy.widths, anatomy.n_layers, members))
        rows = timed(
            group, "perplexity, base and a deactivation", 2 * n_tokens,
            lambda: group.run(sentence_nlls, both, edits=[None, edit])[0],
        )  # fmt: skip
        nats = [
            sum(row.nll_nats for row in of_edit) / sum(row.n_tokens for row in of_edit) for of_edit in rows
        ]
        print(f"mean NLL {nats[0]:.4f} and {nats[1]:.4f} nats a token")
    torch.set_num_threads(options.threads)
    config = load_config(folder)
    config.num_hidden_layers = 1
    prefix = from_pretrained(folder, config, "bfloat16")
    expected = detection_pass(LayerMajor(prefix), both, DEFAULT_GROUPS)
    for key, impacts in expected.items():
        for field in ("minimum", "maximum", "smallest", "worst_rank", "total"):
            same = torch.equal(getattr(impacts, field), getattr(found[key], field))
            assert same, f"layer {key[0]}, group {key[1]}: {field} differs"
    n_values = sum(len(impacts.minimum) for impacts in expected.values())
    print(f"layer 0: {n_values} impacts of an ordinary forward, all equal bit for bit")


def anatomy_on_worker(runner: LayerMajor, batches: Sequence[MicroBatch], progress: Any = None) -> Any:
    """The anatomy of the model."""
    return runner.anatomy


if __name__ == "__main__":
    main()
