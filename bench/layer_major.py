"""Layer-major against batch-major order on two ZeRO-3 workers, in one run: bytes gathered, wall time, peak memory.

python -m bench.layer_major
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from bench.measuring import peak_of_ranks, timed
from bench.models import random_sentences, smollm2
from polyneuron.cluster.actors.group import ModelGroup
from polyneuron.cluster.actors.session import ray_session
from polyneuron.cluster.spec import GroupSpec, ModelSpec
from polyneuron.neuron_core.measures.perplexity import SentenceNll, sentence_nlls
from polyneuron.neuron_core.model.load import resolve_model
from polyneuron.neuron_core.passes.batches import MicroBatch, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor

N_SENTENCES, N_TOKENS, BATCH, N_RANKS = 64, 32, 4, 2


def batch_major_nlls(
    runner: LayerMajor, batches: Sequence[MicroBatch], n_rounds: int, progress: Any = None
) -> list[SentenceNll]:
    """Returns what `sentence_nlls` does, in the usual order: all layers are gathered again for every micro-batch. n_rounds:
    micro-batches of the rank with the most; gathers are collective, so the others go on without any."""
    rows = [
        row
        for index in range(n_rounds)
        for row in sentence_nlls(runner, batches[index : index + 1], [None])[0]
    ]
    return sorted(rows, key=lambda row: (row.language, row.sentence))


def main() -> None:
    """Runs both orders over the same random sentences on SmolLM2-135M and prints the table."""
    batches = micro_batches(random_sentences(N_SENTENCES, N_TOKENS), BATCH)
    model = ModelSpec(source=resolve_model(smollm2()))
    orders: dict[str, tuple[Any, dict[str, Any]]] = {
        "layer-major": (sentence_nlls, {"edits": [None]}),
        "batch-major": (batch_major_nlls, {"n_rounds": -(-len(batches) // N_RANKS)}),
    }
    with ray_session(N_RANKS), ModelGroup(model, GroupSpec(world_size=N_RANKS)) as group:
        model_bytes = group.stats()[0]["model_bytes"]
        print(
            f"{len(batches)} micro-batches of {BATCH} x {N_TOKENS} tokens; model {model_bytes / 2**20:.0f} MiB in float32"
        )
        for name, (function, arguments) in orders.items():
            group.run(function, batches, **arguments)
            group.reset_stats()
            _, seconds = timed(partial(group.run, function, batches, **arguments))
            received, peak = group.stats()[0]["bytes_received"], peak_of_ranks(group)
            print(
                f"{name}: {received / 2**20:.0f} MiB received per rank ({received / model_bytes:.2f} models), "
                f"{seconds:.2f} s, peak resident {peak / 2**20:.0f} MiB per rank ({peak / model_bytes:.2f} models)"
            )


if __name__ == "__main__":
    main()
