"""Is it right on this device: against slow oracles, against itself, and with TF32."""

import statistics
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bench.gpu.scale import Case, Scale
from polyneuron.neuron_core.impacts.detect import detection_pass
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.passes.batches import MicroBatch, Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from tests.parity.oracle import relative_errors
from tests.tiny_models import TINY, tiny_model, token_ids


def parity(scale: Scale) -> Iterator[Case]:
    """Impacts of tiny models of every family against zeroing in float64: median and largest relative error by group. The
    oracle has the model's weights, rounded to its dtype: the errors are those of the arithmetic."""
    ids = token_ids([6, 11, 8])
    sentences = [Sentence("x", i, tuple(row), n_unscored=int(i == 1)) for i, row in enumerate(ids)]
    for dtype in (torch.float32, torch.bfloat16):
        for family in scale.either(tuple(TINY), ("llama-gqa-tied", "phi3")):
            model = tiny_model(family).to(scale.device, dtype)
            errors = relative_errors(model, sentences, stride=scale.either(7, 97))
            yield {
                "family": family,
                "dtype": str(dtype),
                "median": {group: statistics.median(values) for group, values in errors.items()},
                "largest": {group: max(values) for group, values in errors.items()},
            }


def determinism(scale: Scale) -> Iterator[Case]:
    """Minima of all impacts of one wide layer against the same pass again, one sentence at a time, and TF32: whether all bits
    are equal; by group the largest relative difference, and the share of the top 1% that both have."""
    batch = scale.batches(scale.either(64, 6), 1)
    alone = micro_batches(batch[0].sentences, max_sentences=1)
    for dtype in (torch.bfloat16, torch.float32):
        runner = LayerMajor(scale.model(1, dtype))
        first = _minima(runner, batch)
        yield {"dtype": str(dtype), "against": "again", **_compared(first, _minima(runner, batch))}
        yield {"dtype": str(dtype), "against": "batch of 1", **_compared(first, _minima(runner, alone))}
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield {"dtype": str(dtype), "against": "TF32", **_compared(first, _minima(runner, batch))}
    finally:
        torch.set_float32_matmul_precision(before)


def _minima(runner: LayerMajor, batches: list[MicroBatch]) -> dict[str, Tensor]:
    impacts = detection_pass(runner, batches, GROUPS)
    return {group: impacts[0, group].minimum for group in GROUPS}


def _compared(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> Case:
    case: dict[str, Any] = {"equal_bits": all(torch.equal(ours[g], theirs[g]) for g in ours)}
    for group, values in ours.items():
        apart, n_top = (values - theirs[group]).abs() / values.clamp_min(1e-12), max(1, len(values) // 100)
        both = torch.isin(values.topk(n_top).indices, theirs[group].topk(n_top).indices)
        case[group] = {"largest_difference": float(apart.max()), "top_agreement": float(both.float().mean())}
    return case
