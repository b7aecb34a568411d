"""What detection costs beside a plain forward pass, and what its time goes into."""

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch

from bench.gpu.scale import Case, Scale
from polyneuron.cluster.capacity import passes
from polyneuron.cluster.capacity.shape import shape_of
from polyneuron.neuron_core.impacts import scores
from polyneuron.neuron_core.impacts.detect import detection_pass
from polyneuron.neuron_core.model.groups import GROUPS, SCORE_GROUPS
from polyneuron.neuron_core.passes.batches import MicroBatch
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from polyneuron.neuron_core.passes.limits import FLOOR_FRACTION

N_BATCHES = 4
"""Micro-batches of a pass, over which the norms of a layer's weights are shared out; full detection takes one."""

_GROUPS: dict[str, tuple[str, ...]] = {"forward": (), "ffn + v + o": ("ffn", "v", "o")}


def detection(scale: Scale) -> Iterator[Case]:
    """Seconds a layer and micro-batch, and memory, in bfloat16: the decoder's forward, ffn + v + o impacts, certified (3% of
    the q and k neurons, drawn at random) and full detection (of one layer and one micro-batch), by chunk of scores.
    predicted_bytes: what the planner expects of `extra_bytes`."""
    two, one = (LayerMajor(scale.model(n_layers)) for n_layers in (2, 1))
    shape = shape_of(two.model.config, "bfloat16")
    for n_tokens in scale.either((64, 512), (6, 9)):
        batches = scale.batches(n_tokens, N_BATCHES)
        size = len(batches[0].sentences)
        corpus = passes.Corpus(n_sentences=size, n_tokens=n_tokens, batch=size)
        for name, chunk, run in _runs(scale, two, one, batches):
            case = scale.measured(run)
            case["seconds"] /= 1 if name == "full" else 2 * N_BATCHES
            asked = passes.Detection(_GROUPS.get(name, GROUPS), name == "certified", FLOOR_FRACTION)
            case["predicted_bytes"] = passes.impact_activation_bytes(shape, corpus, asked)
            yield {"tokens": n_tokens, "run": name, "score_chunk": chunk, **case}


def launches(scale: Scale) -> Iterator[Case]:
    """Operators, kernel launches and syncs of one micro-batch of the shortest sentences, over two layers (full: one)."""
    two, one = (LayerMajor(scale.model(n_layers)) for n_layers in (2, 1))
    for name, chunk, run in _runs(scale, two, one, scale.batches(scale.either(64, 6), 1)):
        layers = 1 if name == "full" else 2
        yield {"run": name, "score_chunk": chunk, "layers": layers, **scale.launched(run)}


def _runs(
    scale: Scale, two: LayerMajor, one: LayerMajor, batches: list[MicroBatch]
) -> Iterator[tuple[str, int | None, Callable[[], Any]]]:
    """Name, chunk of scores (patched until the next is asked for) and what to run."""
    inputs = [batch.input_ids.to(two.device) for batch in batches]
    generator, candidates = torch.Generator().manual_seed(0), {}
    for place in ((layer, group) for layer in range(2) for group in SCORE_GROUPS):
        shuffled = torch.randperm(two.anatomy.widths[place[1]], generator=generator)
        candidates[place] = shuffled[: max(1, round(FLOOR_FRACTION * len(shuffled)))].sort().values

    @torch.no_grad()
    def forward() -> None:
        for ids in inputs:
            two.model.model(input_ids=ids, use_cache=False)  # type: ignore[operator, union-attr]

    yield "forward", None, forward
    yield "ffn + v + o", None, lambda: detection_pass(two, batches, _GROUPS["ffn + v + o"])
    for chunk in scale.either((1 << 20, 1 << 24, 1 << 27), (1 << 8, 1 << 20)):
        name = "SCORE_CHUNK_ELEMENTS"
        with mock.patch.object(scores, name, chunk), mock.patch.object(passes, name, chunk):
            yield "certified", chunk, lambda: detection_pass(two, batches, GROUPS, candidates)
            yield "full", chunk, lambda: detection_pass(one, batches[:1], GROUPS)
