"""Activation statistics over the ranks of a group: sketches are added up layer by layer, where the layer is done with.

Layer i is turned into statistics on rank i mod world size, so what travels to the driver is a few numbers per neuron
instead of 7.7 kB, and no rank holds more sketches than those of one layer. Integers add up to the same bits in any
order: a group gives what one process gives.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist

from polyneuron.neuron_core.activations.measure import Progress, activation_pass
from polyneuron.neuron_core.activations.names import Site
from polyneuron.neuron_core.activations.sketch import ActivationSketch, checked_tokens
from polyneuron.neuron_core.activations.statistics import ActivationStatistics, layer_statistics
from polyneuron.neuron_core.passes.batches import MicroBatch
from polyneuron.neuron_core.passes.layer_major import LayerMajor

_SUM, _MIN, _MAX = dist.ReduceOp.SUM, dist.ReduceOp.MIN, dist.ReduceOp.MAX
_OPERATIONS = {"counts": _SUM, "total": _SUM, "minimum": _MIN, "maximum": _MAX}


def statistics_pass(
    runner: LayerMajor,
    batches: Sequence[MicroBatch],
    languages: Sequence[str],
    site: Site,
    progress: Progress | None = None,
) -> dict[int, ActivationStatistics]:
    """Statistics over the micro-batches of all ranks, of the layers that fall to this rank. Micro-batches are of one language
    each; every rank names the same `languages`, and may have none of one. Works alone where no group was formed. Raises
    CorpusError and ModelError as `activation_pass` does; more tokens than a sketch can count are an error on every rank."""
    mine: dict[str, list[MicroBatch]] = {language: [] for language in languages}
    for batch in batches:
        mine[batch.sentences[0].language].append(batch)
    rank, world_size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    found = {}
    for layer, sketches in activation_pass(runner, mine, site, progress):
        owner = layer % world_size
        if world_size > 1:
            sketches = {
                language: _added_up(sketch, owner, runner.device) for language, sketch in sketches.items()
            }
        if rank == owner:
            found[layer] = layer_statistics(sketches)
    return found


def _added_up(sketch: ActivationSketch, owner: int, device: torch.device) -> ActivationSketch:
    """The sketch of all ranks' tokens; on ranks other than `owner` its numbers mean nothing."""
    n_tokens = torch.tensor(sketch.n_tokens, device=device)
    dist.all_reduce(n_tokens)
    reduced = {}
    for field, operation in _OPERATIONS.items():
        values = getattr(sketch, field).to(device)
        dist.reduce(values, owner, operation)
        reduced[field] = values.cpu()
    return ActivationSketch(n_tokens=checked_tokens(int(n_tokens)), **reduced)
