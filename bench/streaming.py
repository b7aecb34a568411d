"""A 7B-shaped Llama in a worker that may not use 4 GB: detection and perplexity with weights streamed from the files.

    python -m bench.streaming [--layers 32] [--threads 2] [--sentences 6] [--tokens 24] [--hidden-gib 0.001]
                                   [--folder FOLDER]

Writes random bfloat16 weights (about 13.5 GB at 32 layers) to a temporary folder, one file a layer, and removes
them afterwards; a folder given by --folder is kept, and used again when it is there. The worker's private memory is held
by RLIMIT_DATA. The impacts of layer 0 are compared bit for bit with an ordinary forward of a model that is the first layer.
"""

import argparse
import resource
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

from bench.measuring import peak_of_ranks, timed
from bench.models import llama_config, random_sentences, write_llama
from polyneuron.cluster.actors.group import ModelGroup
from polyneuron.cluster.actors.session import ray_session
from polyneuron.cluster.memory import peak_resident_bytes
from polyneuron.cluster.spec import GroupSpec, ModelSpec
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.impacts.detect import Candidates, detect_language, detection_pass, merge_passes
from polyneuron.neuron_core.measures.perplexity import sentence_nlls
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.groups import DEFAULT_GROUPS
from polyneuron.neuron_core.model.opening import load_config
from polyneuron.neuron_core.passes.batches import MicroBatch, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from polyneuron.neuron_core.sets.neuron_set import NeuronSet

LIMIT_BYTES = 4 * 10**9
GIB = 2**30


def write_model(folder: Path, n_layers: int) -> None:
    """Writes random bfloat16 weights in Llama-2-7B's shape, with `n_layers` layers."""
    fields: dict[str, Any] = dict(num_hidden_layers=n_layers, tie_word_embeddings=False, dtype="bfloat16")
    write_llama(folder, llama_config("llama-7B", 32_000, **fields))


def hold(runner: LayerMajor, batches: Sequence[MicroBatch], progress: Any = None) -> None:
    """On the worker: private memory beyond `LIMIT_BYTES` is refused by the kernel."""
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))


def spilled(runner: LayerMajor, batches: Sequence[MicroBatch], progress: Any = None) -> int:
    """On the worker: bytes of hidden states that these batches put into the file at once."""
    with runner.gathered_before():
        running = [runner.begin(batch) for batch in batches]
    return runner.hidden.spilled_bytes if running else 0


def told(group: ModelGroup, name: str, n_tokens: int, work: Callable[[], Any]) -> Any:
    """Runs `work` and prints what it took."""
    group.reset_stats()
    result, seconds = timed(work)
    stats = group.stats()[0]
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
            _, seconds = timed(lambda: write_model(folder, options.layers))
            print(f"written in {seconds:.0f} s; peak of the writer {peak_resident_bytes() / 10**9:.2f} GB")
        run(folder, options)


def run(folder: Path, options: argparse.Namespace) -> None:
    """All passes and the comparison."""
    corpora = {
        language: random_sentences(
            options.sentences, options.tokens, language=language, vocabulary=32_000, seed=seed
        )
        for seed, language in enumerate(("aa", "bb"))
    }
    both = micro_batches([sentence for sentences in corpora.values() for sentence in sentences], 4)
    n_tokens = len(corpora) * options.sentences * options.tokens
    spec = ModelSpec(
        source=str(folder), dtype="bfloat16", weights="stream", hidden_states_gib=options.hidden_gib
    )
    with (
        ray_session(options.threads),
        ModelGroup(spec, GroupSpec(threads_per_worker=options.threads, max_restarts=0)) as group,
    ):
        before = peak_of_ranks(group)
        group.run(hold, both)
        model_bytes = group.stats()[0]["model_bytes"]
        print(
            f"model {model_bytes / 10**9:.2f} GB in bfloat16; private memory of the worker held at {LIMIT_BYTES / 10**9:.1f} GB; "
            f"resident before the first pass {before / 10**9:.2f} GB; hidden states in the file "
            f"{group.run(spilled, both)[0] / 2**20:.1f} MiB",
            flush=True,
        )
        impacts_by_place = told(
            group, "every neuron of every sentence", n_tokens,
            lambda: merge_passes(group.run(detection_pass, both, groups=DEFAULT_GROUPS)),
        )  # fmt: skip

        def run_pass(batches: list[MicroBatch], candidates: Candidates | None) -> Any:
            return merge_passes(
                group.run(detection_pass, batches, groups=DEFAULT_GROUPS, candidates=candidates)
            )

        for language, sentences in corpora.items():
            told(
                group, f"certified detection of {language}", n_tokens // 2,
                lambda sentences=sentences: detect_language(run_pass, sentences, batch_size=4),  # type: ignore[misc]
            )  # fmt: skip
        anatomy = anatomy_of(load_config(folder))
        members = {(layer, "ffn"): range(20) for layer in range(anatomy.n_layers)}
        edit = WeightEdit.zero(NeuronSet.from_indices("7b", anatomy.widths, anatomy.n_layers, members))
        rows = told(
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
    # transformers takes the first layer of the files and leaves the rest, which our own loading refuses
    prefix = LlamaForCausalLM.from_pretrained(folder, config=config, dtype=torch.bfloat16).eval()
    expected = detection_pass(LayerMajor(prefix), both, DEFAULT_GROUPS)
    for key, impacts in expected.items():
        for field in ("minimum", "maximum", "smallest", "worst_rank", "total"):
            same = torch.equal(getattr(impacts, field), getattr(impacts_by_place[key], field))
            assert same, f"layer {key[0]}, group {key[1]}: {field} differs"
    n_values = sum(len(impacts.minimum) for impacts in expected.values())
    print(f"layer 0: {n_values} impacts of an ordinary forward, all equal bit for bit")


if __name__ == "__main__":
    main()
