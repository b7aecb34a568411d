"""Impacts that are column norms of one activation matrix: ffn (Eq. 8), v (Eq. 10) and o neurons.

Shapes: B sentences, T tokens, I feed-forward width, H query heads, G key-value heads, D head dim, d hidden size.
"""

import torch
from torch import Tensor

from polyneuron.neuron_core.passes.limits import WIDENED_ELEMENTS


def column_norms(activations_BTN: Tensor, scored_BT: Tensor) -> Tensor:
    """Euclidean norm of every column over the scored tokens of each sentence: [B, N], float32 or wider.

    The sum is a product with the mask: torch's vector_norm over a strided dimension took 15 times as long on a CPU.
    """
    x = activations_BTN.to(torch.promote_types(activations_BTN.dtype, torch.float32))
    return (scored_BT.to(x.dtype)[:, None] @ (x * x))[:, 0].sqrt()


def output_norms(weight_dN: Tensor) -> Tensor:
    """Euclidean norm of every column of an output projection (down_proj or o_proj): [N], float32 or wider."""
    wide = torch.promote_types(weight_dN.dtype, torch.float32)
    n_at_once = max(1, WIDENED_ELEMENTS // weight_dN.shape[0])
    squares = [part.to(wide).square().sum(0) for part in weight_dN.split(n_at_once, dim=1)]
    return torch.cat(squares).sqrt()


def ffn_impacts(hidden_BTI: Tensor, scored_BT: Tensor, down_norms_I: Tensor) -> Tensor:
    """Eq. 8: ||H[:, k]|| ||W_down[k, :]||, [B, I]. The change of the MLP output is an outer product, hence exact."""
    return column_norms(hidden_BTI, scored_BT) * down_norms_I


def value_impacts(head_norms_BN: Tensor, n_kv_heads: int, head_dim: int) -> Tensor:
    """Eq. 10 under GQA: sqrt(sum over the query heads h of the group of ||A_h V[:, k]||^2), [B, G*D].

    `head_norms_BN` are the column norms [B, H*D] of o_proj's input.
    """
    per_head = head_norms_BN.unflatten(1, (n_kv_heads, -1, head_dim))
    return (per_head * per_head).sum(2).sqrt().flatten(1)


def output_impacts(head_norms_BN: Tensor, output_norms_N: Tensor) -> Tensor:
    """o neurons: ||(A V)[:, k]|| ||W_O[k, :]||, [B, H*D], the change of o_proj's output."""
    return head_norms_BN * output_norms_N
