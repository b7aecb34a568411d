"""All impacts of one layer over one micro-batch, and those that are column norms of one activation matrix.

An ffn neuron has ||H[:, k]|| ||W_down[k, :]|| (Eq. 8), since the change of the MLP output is an outer product; an o neuron
||(A V)[:, k]|| ||W_O[k, :]||, the change of o_proj's output. Shapes: B sentences, T tokens, H query heads, G key-value heads, D
head dim, d hidden size, N neurons.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polyneuron.neuron_core.impacts.attention import ScoreImpacts
from polyneuron.neuron_core.impacts.capture import LayerRecord
from polyneuron.neuron_core.model.anatomy import Anatomy
from polyneuron.neuron_core.model.groups import SCORE_GROUPS
from polyneuron.neuron_core.passes.limits import WIDENED_ELEMENTS


def column_norms(activations_BTN: Tensor, scored_BT: Tensor) -> Tensor:
    """Euclidean norm of every column over the scored tokens of each sentence: [B, N], float32 or wider. The sum is a
    product with the mask: torch's vector_norm over a strided dimension took 15 times as long on a CPU."""
    x = activations_BTN.to(torch.promote_types(activations_BTN.dtype, torch.float32))
    return (scored_BT.to(x.dtype)[:, None] @ (x * x))[:, 0].sqrt()


def output_norms(weight_dN: Tensor) -> Tensor:
    """Euclidean norm of every column of an output projection (down_proj or o_proj): [N], float32 or wider."""
    wide = torch.promote_types(weight_dN.dtype, torch.float32)
    n_at_once = max(1, WIDENED_ELEMENTS // weight_dN.shape[0])
    squares = [part.to(wide).square().sum(0) for part in weight_dN.split(n_at_once, dim=1)]
    return torch.cat(squares).sqrt()


def value_impacts(head_norms_BN: Tensor, n_kv_heads: int, head_dim: int) -> Tensor:
    """Eq. 10 under GQA: sqrt(sum over the query heads h of the group of ||A_h V[:, k]||^2), [B, G*D]. `head_norms_BN` are
    the column norms [B, H*D] of o_proj's input."""
    per_head = head_norms_BN.unflatten(1, (n_kv_heads, -1, head_dim))
    return (per_head * per_head).sum(2).sqrt().flatten(1)


class LayerImpacts:
    """The impact formulas bound to one layer, whose parameters must be whole. Weight norms are computed once."""

    def __init__(self, layer: nn.Module, anatomy: Anatomy, groups: Sequence[str]) -> None:
        self._anatomy, self._groups = anatomy, groups
        attention: Any = layer.get_submodule(anatomy.family.attention)
        mlp = layer.get_submodule(anatomy.family.mlp)
        self._down_norms = output_norms(mlp.get_parameter("down_proj.weight")) if "ffn" in groups else None
        self._out_norms = output_norms(attention.get_parameter("o_proj.weight")) if "o" in groups else None
        self._norm_eps = (0.0, 0.0)
        if anatomy.family.qk_norm is not None:
            eps = anatomy.family.norm_eps
            self._norm_eps = (getattr(attention.q_norm, eps), getattr(attention.k_norm, eps))

    @torch.no_grad()
    def __call__(
        self, record: LayerRecord, scored_BT: Tensor, candidates: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Impacts [B, N] per group. With `candidates`, q and k only for those neurons (ascending int64 indices)."""
        anatomy, impacts = self._anatomy, dict[str, Tensor]()
        if wanted := [
            g for g in self._groups if g in SCORE_GROUPS and (candidates is None or len(candidates[g]))
        ]:
            scores = ScoreImpacts(record, anatomy, scored_BT, self._norm_eps)
            for group in wanted:
                impacts[group] = scores.impacts(group, None if candidates is None else candidates[group])
        if "v" in self._groups or "o" in self._groups:
            head_norms = column_norms(record.heads, scored_BT)
            if "v" in self._groups:
                impacts["v"] = value_impacts(head_norms, anatomy.n_kv_heads, anatomy.head_dim)
            if self._out_norms is not None:
                impacts["o"] = head_norms * self._out_norms
        if self._down_norms is not None:
            impacts["ffn"] = column_norms(record.ffn, scored_BT) * self._down_norms
        return impacts
