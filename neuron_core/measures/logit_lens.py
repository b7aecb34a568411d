"""The logit lens of a neuron: what its output direction adds to each token's logit (nostalgebraist 2020; Geva et al. 2022).

A neuron writes a multiple of its direction into the residual stream. Every norm between the direction and the logits is linear
up to a positive factor that the rest of the stream decides: its gain is applied, its factor is taken as 1. Later layers, and a
soft-cap on the logits, which keeps their order, are left out.
Shapes: D directions, d hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from polyneuron.neuron_core.model.anatomy import Anatomy, anatomy_of
from polyneuron.neuron_core.model.groups import SCORE_GROUPS
from polyneuron.neuron_core.model.stored_model import StoredModel
from polyneuron.neuron_core.sets.neuron_name import NeuronName

_CHUNK = 1 << 24
"""Elements of the head, or of another matrix, that are held at a time."""
_DIRECTIONS = 1 << 12
"""Directions that are taken through the head at a time, or those of one layer and group where they are more."""


@dataclass(frozen=True, slots=True)
class MovedTokens:
    """The tokens whose logits the outputs of I neurons of one layer and group move most; each neuron has D directions."""

    tokens: Tensor
    """int64 [2, I, D, k]: first the promoted ones, largest logit first, then the suppressed ones, smallest first."""
    logits: Tensor
    """float32 [2, I, D, k], as `output_logits` gives them."""


@torch.no_grad()
def output_logits(stored: StoredModel, neuron: NeuronName) -> Tensor:
    """float32 [D, V]: what a unit of the neuron's output adds to the logits, each direction centred over the vocabulary.

    An ffn neuron writes its column of down_proj and an o neuron its column of o_proj: D is 1. A v neuron writes one column of
    o_proj for every query head that reads its key-value head, in their order. q and k neurons write nothing, they act on
    attention scores: D is 0. Reads those columns, the gains of the norms, and the head in pieces; memory is that of a piece.

    Raises:
        ModelError: a file cannot be read, or was changed.
    """
    head: nn.Parameter = stored.model.get_output_embeddings().weight
    directions = _directions(stored, neuron.layer, neuron.group, [neuron.neuron])
    logits = torch.empty(len(directions), stored.shape(head)[0])
    for start, rows in _pieces(stored, head) if len(directions) else ():
        logits[:, start : start + len(rows)] = directions @ rows.T
    return logits - logits.mean(dim=1, keepdim=True)


@torch.no_grad()
def moved_tokens(
    stored: StoredModel, neurons: Mapping[tuple[int, str], Sequence[int]], k: int, n_tokens: int
) -> dict[tuple[int, str], MovedTokens]:
    """The `k` tokens at each end of `output_logits`, for neurons by (layer, group), of the first `n_tokens` of the vocabulary;
    q and k neurons are left out. The head is read once for some thousands of directions.

    Raises:
        ModelError: a file cannot be read, or was changed.
    """
    places = [(place, indices) for place, indices in neurons.items() if place[1] not in SCORE_GROUPS]
    found: dict[tuple[int, str], MovedTokens] = {}
    waiting: list[tuple[tuple[int, str], int, Tensor]] = []
    for i, (place, indices) in enumerate(places):
        waiting.append((place, len(indices), _directions(stored, *place, indices)))
        if i + 1 == len(places) or sum(len(each) for *_, each in waiting) >= _DIRECTIONS:
            tokens, logits = _ends(stored, torch.cat([each for *_, each in waiting]), k, n_tokens)
            sizes = [len(each) for *_, each in waiting]
            for (its, n, _), *ends in zip(
                waiting, tokens.split(sizes, 1), logits.split(sizes, 1), strict=True
            ):
                found[its] = MovedTokens(*(each.view(2, n, -1, each.shape[-1]) for each in ends))
            waiting.clear()
    return found


def _ends(stored: StoredModel, directions: Tensor, k: int, n_tokens: int) -> tuple[Tensor, Tensor]:
    """Tokens and centred logits, [2, D, k], of directions [D, d]."""
    head: nn.Parameter = stored.model.get_output_embeddings().weight
    total = torch.zeros(len(directions), dtype=torch.float64)
    best = [torch.empty(len(directions), 0) for _ in range(2)]
    tokens = [torch.empty(len(directions), 0, dtype=torch.int64) for _ in range(2)]
    for start, rows in _pieces(stored, head):
        logits = directions @ rows.T
        total += logits.sum(dim=1, dtype=torch.float64)
        within = logits[:, : max(0, n_tokens - start)]
        for end, largest in enumerate((True, False)):
            top = within.topk(min(k, within.shape[1]), largest=largest)
            values, ids = (
                torch.cat([best[end], top.values], 1),
                torch.cat([tokens[end], top.indices + start], 1),
            )
            kept = values.topk(min(k, values.shape[1]), largest=largest).indices
            best[end], tokens[end] = values.gather(1, kept), ids.gather(1, kept)
    mean = (total / stored.shape(head)[0]).float()
    return torch.stack(tokens), torch.stack(best) - mean[:, None]


def _directions(stored: StoredModel, layer: int, group: str, indices: Sequence[int]) -> Tensor:
    """float32 [D, d]: what the neurons of one layer and group write, neuron after neuron, with the gains of the norms."""
    anatomy, model = anatomy_of(stored.model), stored.model
    columns = [column for index in indices for column in _columns(anatomy, NeuronName(layer, group, index))]
    width = stored.shape(model.get_output_embeddings().weight)[1]
    if not columns:
        return torch.zeros(0, width)
    written = anatomy.slices("ffn" if group == "ffn" else "o")[-1]
    matrix = model.get_parameter(anatomy.parameter_name(layer, written))
    directions = torch.cat([rows[:, columns] for _, rows in _pieces(stored, matrix)]).T.contiguous()
    for norm in _norms(anatomy, model, layer, group):
        directions *= _gain(stored, norm, width)
    return directions


def _pieces(stored: StoredModel, matrix: nn.Parameter) -> Iterator[tuple[int, Tensor]]:
    """The matrix in pieces of whole rows, float32, each with its first row's number; a piece is overwritten by the next."""
    n_rows, width = stored.shape(matrix)
    step = min(n_rows, max(1, _CHUNK // width))
    piece = torch.empty(step * width)
    for start in range(0, n_rows, step):
        rows = piece[: min(step, n_rows - start) * width]
        stored.read(matrix, rows, start * width)
        yield start, rows.view(-1, width)


def _columns(anatomy: Anatomy, neuron: NeuronName) -> list[int]:
    """Of down_proj for an ffn neuron, else of o_proj."""
    if neuron.group in SCORE_GROUPS:
        return []
    if neuron.group != "v":
        return [neuron.neuron]
    of_kv, place = divmod(neuron.neuron, anatomy.head_dim)
    first = of_kv * anatomy.heads_per_kv
    return [head * anatomy.head_dim + place for head in range(first, first + anatomy.heads_per_kv)]


def _norms(anatomy: Anatomy, model: Any, layer: int, group: str) -> list[nn.Module]:
    """The norms through which what the neuron writes passes on its way to the head."""
    decoder, _, _ = anatomy.family.layers_path.rpartition(".")
    norms = [model.get_submodule(decoder).norm]
    if anatomy.family.norms_after:
        block = "feedforward" if group == "ffn" else "attention"
        norms.append(getattr(anatomy.layers(model)[layer], f"post_{block}_layernorm"))
    return norms


def _gain(stored: StoredModel, norm: nn.Module, width: int) -> Tensor:
    """float32 [d]. The module itself says it, since some families keep what is added to 1."""
    parameters = list(norm.parameters())
    with stored.gather(parameters):
        gain: Tensor = norm(torch.ones(width, dtype=parameters[0].dtype))
        return gain.float()
