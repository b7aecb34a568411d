"""TopTokens: for each of some neurons the few tokens on which they are strongest, kept while a pass runs.

The strength of an ffn neuron on a token is its activation; that of the other groups, whose sign means nothing by itself, the
size of their value. Of equally strong tokens that of the earlier sentence comes first, and in a sentence the earlier one. So the
tokens kept are the first of a whole sort, however the sentences are spread over workers and in whatever order they come.
Shapes: I neurons, K places, n tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polyneuron.neuron_core.activations.measure import Progress
from polyneuron.neuron_core.activations.neuron_values import recorded_neurons
from polyneuron.neuron_core.common.errors import ModelError
from polyneuron.neuron_core.passes.batches import MicroBatch
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from polyneuron.neuron_core.sets.neuron_set import NeuronSet

Place = tuple[int, str]
"""(layer, group)."""


@dataclass(frozen=True, slots=True)
class TopTokens:
    """The strongest tokens of the neurons of one layer and group, strongest first; there may be fewer than asked for."""

    values: Tensor
    """float32 [places, I], signed."""
    sentences: Tensor
    """int64 [places, I], the index of the sentence in its language."""
    positions: Tensor
    """int64 [places, I], where in the sentence the token stands, BOS counted."""

    def merged(self, other: TopTokens, group: str, k: int) -> TopTokens:
        """The `k` strongest of both. In any order and grouping the same."""
        values = torch.cat([self.values, other.values])
        sentences = torch.cat([self.sentences, other.sentences])
        positions = torch.cat([self.positions, other.positions])
        order = positions.argsort(dim=0, stable=True)
        order = order.gather(0, sentences.gather(0, order).argsort(dim=0, stable=True))
        strengths = strength(values, group).gather(0, order)
        order = order.gather(0, strengths.argsort(dim=0, descending=True, stable=True))[:k]
        return TopTokens(values.gather(0, order), sentences.gather(0, order), positions.gather(0, order))


def strength(values: Tensor, group: str) -> Tensor:
    """By what tokens are ranked: the value of an ffn neuron, the size of any other's."""
    return values if group == "ffn" else values.abs()


def top_tokens_pass(
    runner: LayerMajor,
    batches: Sequence[MicroBatch],
    neurons: NeuronSet,
    k: int,
    progress: Progress | None = None,
) -> dict[Place, TopTokens]:
    """The `k` strongest tokens of every neuron of a set over the scored tokens of some micro-batches of one language, by layer
    and group, in host memory: 20 bytes for each neuron and place. `merge_top_tokens` puts together what several workers find.

    Raises:
        ModelError: a value that is not finite; the message names the layer and group.
    """
    chosen: dict[int, dict[str, Tensor]] = {}
    for place in neurons.places():
        chosen.setdefault(place[0], {})[place[1]] = torch.tensor(neurons.indices(*place))
    with runner.gathered_before():
        running = [runner.begin(batch) for batch in batches]
    found: dict[Place, TopTokens] = {}
    for index, layer in enumerate(runner.layers):
        of_layer = chosen.get(index, {})
        best = {group: _none(len(indices), runner.device) for group, indices in of_layer.items()}
        with runner.gathered_layer(index), recorded_neurons(layer, runner.anatomy, of_layer) as readers:
            for inputs in running:
                runner.run_layer(index, inputs)
                sentences, positions = (places.to(runner.device) for places in _places(inputs.batch))
                for group, read in readers.items():
                    values = read(inputs.batch.scored)
                    if not torch.isfinite(values).all():
                        raise ModelError(
                            f"Layer {index}: a value of group {group} is not finite. The model's weights hold NaN or infinity, "
                            "or its dtype overflows; check the checkpoint, or load it in float32"
                        )
                    best[group] = _with_tokens(best[group], values, sentences, positions, group=group, k=k)
        for group, tokens in best.items():
            found[index, group] = TopTokens(
                tokens.values.cpu(), tokens.sentences.cpu(), tokens.positions.cpu()
            )
        if progress is not None:
            progress(index + 1, len(runner.layers))
    return found


def merge_top_tokens(by_rank: Sequence[Mapping[Place, TopTokens]], k: int) -> dict[Place, TopTokens]:
    """What one pass over the micro-batches of all ranks finds; every rank has the same layers and groups."""
    merged = dict(by_rank[0])
    for rank in by_rank[1:]:
        for (layer, group), tokens in rank.items():
            merged[layer, group] = merged[layer, group].merged(tokens, group, k)
    return merged


def _none(n_neurons: int, device: torch.device) -> TopTokens:
    places = torch.zeros(0, n_neurons, dtype=torch.int64, device=device)
    return TopTokens(places.float(), places, places)


def _places(batch: MicroBatch) -> tuple[Tensor, Tensor]:
    """Sentence and position, int64 [n], of the scored tokens."""
    row, position = batch.scored.nonzero(as_tuple=True)
    return torch.tensor([sentence.index for sentence in batch.sentences])[row], position


def _with_tokens(
    best: TopTokens, values: Tensor, sentences: Tensor, positions: Tensor, *, group: str, k: int
) -> TopTokens:
    """`best` after the tokens of a micro-batch, values [n, I]; those that can be among the strongest of no neuron are left out
    before anything is sorted."""
    if len(best.values) == k:
        least = strength(best.values[-1], group)
        may_enter = (strength(values, group) >= least).any(dim=1)
        values, sentences, positions = values[may_enter], sentences[may_enter], positions[may_enter]
    n_neurons = values.shape[1]
    others = TopTokens(values, *(place[:, None].expand(-1, n_neurons) for place in (sentences, positions)))
    return best.merged(others, group, k)
