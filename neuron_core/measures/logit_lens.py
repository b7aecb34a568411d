"""The logit lens of a neuron: what its output direction adds to each token's logit (nostalgebraist 2020; Geva et al. 2022).

A neuron writes a multiple of its direction into the residual stream. Every norm between the direction and the logits is linear
up to a positive factor that the rest of the stream decides: its gain is applied, its factor is taken as 1. Later layers, and a
soft-cap on the logits, which keeps their order, are left out.
Shapes: D directions, d hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from polyneuron.neuron_core.model.anatomy import Anatomy, anatomy_of
from polyneuron.neuron_core.model.groups import SCORE_GROUPS
from polyneuron.neuron_core.model.stored_model import StoredModel
from polyneuron.neuron_core.sets.neuron_name import NeuronName

_CHUNK = 1 << 24
"""Elements of the head that are held at a time."""


@torch.no_grad()
def output_logits(stored: StoredModel, neuron: NeuronName) -> Tensor:
    """float32 [D, V]: what a unit of the neuron's output adds to the logits, each direction centred over the vocabulary.

    An ffn neuron writes its column of down_proj and an o neuron its column of o_proj: D is 1. A v neuron writes one column of
    o_proj for every query head that reads its key-value head, in their order. q and k neurons write nothing, they act on
    attention scores: D is 0. Reads those columns, the gains of the norms, and the head in pieces; memory is that of a piece.

    Raises:
        ModelError: a file cannot be read, or was changed.
    """
    anatomy, model = anatomy_of(stored.model), stored.model
    columns = _columns(anatomy, neuron)
    head: nn.Parameter = model.get_output_embeddings().weight
    n_rows, width = stored.shape(head)
    if not columns:
        return torch.zeros(0, n_rows)
    group = "ffn" if neuron.group == "ffn" else "o"
    written = anatomy.slices(group)[-1]
    matrix = model.get_parameter(anatomy.parameter_name(neuron.layer, written))
    directions = torch.stack([_column(stored, matrix, column) for column in columns])
    for norm in _norms(anatomy, model, neuron):
        directions *= _gain(stored, norm, width)
    logits = torch.empty(len(columns), n_rows)
    step = max(1, _CHUNK // width)
    piece = torch.empty(min(step, n_rows) * width)
    for start in range(0, n_rows, step):
        n = min(step, n_rows - start)
        stored.read(head, piece[: n * width], start * width)
        logits[:, start : start + n] = directions @ piece[: n * width].view(n, width).T
    return logits - logits.mean(dim=1, keepdim=True)


def _columns(anatomy: Anatomy, neuron: NeuronName) -> list[int]:
    """Of down_proj for an ffn neuron, else of o_proj."""
    if neuron.group in SCORE_GROUPS:
        return []
    if neuron.group != "v":
        return [neuron.neuron]
    of_kv, place = divmod(neuron.neuron, anatomy.head_dim)
    first = of_kv * anatomy.heads_per_kv
    return [head * anatomy.head_dim + place for head in range(first, first + anatomy.heads_per_kv)]


def _column(stored: StoredModel, matrix: nn.Parameter, column: int) -> Tensor:
    n_rows, n_columns = stored.shape(matrix)
    values = torch.empty(n_rows)
    for row in range(n_rows):
        stored.read(matrix, values[row : row + 1], row * n_columns + column)
    return values


def _norms(anatomy: Anatomy, model: Any, neuron: NeuronName) -> list[nn.Module]:
    """The norms through which what the neuron writes passes on its way to the head."""
    decoder, _, _ = anatomy.family.layers_path.rpartition(".")
    norms = [model.get_submodule(decoder).norm]
    if anatomy.family.norms_after:
        block = "feedforward" if neuron.group == "ffn" else "attention"
        norms.append(getattr(anatomy.layers(model)[neuron.layer], f"post_{block}_layernorm"))
    return norms


def _gain(stored: StoredModel, norm: nn.Module, width: int) -> Tensor:
    """float32 [d]. The module itself says it, since some families keep what is added to 1."""
    parameters = list(norm.parameters())
    with stored.gather(parameters):
        gain: Tensor = norm(torch.ones(width, dtype=parameters[0].dtype))
        return gain.float()
