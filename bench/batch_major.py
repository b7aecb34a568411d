"""The usual order, for comparison only: every layer is gathered again for every micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from polyneuron.neuron_core.measures.perplexity import SentenceNll, sentence_nlls
from polyneuron.neuron_core.passes.batches import MicroBatch
from polyneuron.neuron_core.passes.layer_major import LayerMajor


def batch_major_losses(
    runner: LayerMajor,
    batches: Sequence[MicroBatch],
    n_rounds: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[SentenceNll]:
    """NLL of every sentence, one micro-batch after the other.

    Gathers are collective: ranks must make equally many. `n_rounds` pads with empty rounds; None: as many as the rank
    with the most batches.
    """
    import torch
    import torch.distributed as dist

    if n_rounds is None:
        most = torch.tensor(len(batches))
        if dist.is_initialized():
            dist.all_reduce(most, op=dist.ReduceOp.MAX)
        n_rounds = int(most)
    rows: list[SentenceNll] = []
    for index in range(n_rounds):
        rows += sentence_nlls(runner, batches[index : index + 1], [None])[0]
        if progress is not None:
            progress(index + 1, n_rounds)
    return sorted(rows, key=lambda row: (row.language, row.sentence))
