"""What loading, and then one pass, costs each worker: peak resident memory, bytes read, seconds.

python -m bench.loading [--layers 6] [--world-size 2] [--weights shard] [--offload none]

The model has Llama-2-7B's shape with fewer layers (2.95 GB at 6, 3.76 GB at 8), random weights, bfloat16, and lies in a
temporary folder. The pass is the perplexity of 12 sentences of 24 tokens.
"""

import argparse
import tempfile
import time
from pathlib import Path

from bench.measuring import timed
from bench.models import random_sentences
from bench.streaming import write_model
from polyneuron.cluster.actors.group import ModelGroup
from polyneuron.cluster.actors.session import ray_session
from polyneuron.cluster.spec import GroupSpec, ModelSpec
from polyneuron.neuron_core.measures.perplexity import sentence_nlls
from polyneuron.neuron_core.passes.batches import micro_batches


def report(what: str, seconds: float, group: ModelGroup) -> None:
    """Prints a line a worker."""
    for rank in group.stats():
        print(
            f"{what} {seconds:.1f} s, rank {rank['rank']}: model {rank['model_bytes'] / 10**9:.2f} GB, read "
            f"{rank['bytes_read'] / 10**9:.2f} GB, peak resident {rank['peak_resident_bytes'] / 10**9:.2f} GB"
        )


def main() -> None:
    """Loads once, runs one pass."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--world-size", type=int, default=2)
    parser.add_argument("--weights", choices=("shard", "stream"), default="shard")
    parser.add_argument("--offload", choices=("none", "cpu"), default="none")
    options = parser.parse_args()
    batches = micro_batches(random_sentences(12, 24, vocabulary=32_000), 4)
    with tempfile.TemporaryDirectory(prefix="polyneuron-load-") as folder, ray_session(options.world_size):
        write_model(Path(folder), options.layers)
        spec = ModelSpec(source=folder, dtype="bfloat16", weights=options.weights, offload=options.offload)
        began = time.perf_counter()
        with ModelGroup(spec, GroupSpec(world_size=options.world_size)) as group:
            report("loaded in", time.perf_counter() - began, group)
            _, seconds = timed(lambda: group.run(sentence_nlls, batches, edits=[None]))
            report("pass of", seconds, group)


if __name__ == "__main__":
    main()
