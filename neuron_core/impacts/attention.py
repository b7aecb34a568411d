"""Impacts of q and k neurons of one layer (Eq. 11): from what the layer recorded to rank-2 score changes of each head.

A column of W_Q acts before RoPE. With x the projection (bias and QK-norm included) and p the rotary partner of
coordinate k, zeroing it changes the scaled scores of its head by

    X[i, j] = c x[i, k] (cos_ik K[j, k] + s sin_ip K[j, p]),    s = +1 for k in the first half, else -1,

K being the rotated keys; for W_K the roles of queries and keys swap, and every query head of the group moves.
Shapes: B sentences, T tokens, H query heads, G key-value heads, D head dim, R rotary dims, N neurons of one head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neuron_core.anatomy import Anatomy
from neuron_core.capture import AttentionRecord, LayerRecord
from neuron_core.impacts.scores import Head, ScoreChange, squared_impacts


@dataclass(frozen=True)
class _Rotation:
    """Where RoPE sends each coordinate of a head. partner [D]; cos, sin [1 or B, D, T], sign included in sin."""

    partner: Tensor
    cos_BDT: Tensor
    sin_BDT: Tensor

    @staticmethod
    def of(cos_sin: tuple[Tensor, Tensor], head_dim: int, dtype: torch.dtype) -> _Rotation:
        cos, sin = (table.to(dtype).mT for table in cos_sin)
        rotary, half = cos.shape[1], cos.shape[1] // 2
        partner = torch.arange(head_dim, device=cos.device)
        partner[:half] += half
        partner[half:rotary] -= half
        sign = torch.ones(rotary, 1, dtype=dtype, device=cos.device)
        sign[half:] = -1
        still = cos.shape[0], head_dim - rotary, cos.shape[2]  # partial RoPE leaves the last coordinates alone
        return _Rotation(
            partner,
            torch.cat([cos, cos.new_ones(still)], dim=1),
            torch.cat([sign * sin[:, partner[:rotary]], sin.new_zeros(still)], dim=1),
        )


class ScoreImpacts:
    """Impacts of the q and k neurons of one layer over one micro-batch. Build once, ask for either group."""

    def __init__(
        self, record: LayerRecord, anatomy: Anatomy, scored_BT: Tensor, norm_eps: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        assert record.attention is not None and record.cos_sin is not None
        self._record, self._anatomy = record, anatomy
        self._attention = record.attention
        self._norm_eps = dict(zip("qk", norm_eps, strict=True))
        self._dtype = self._attention.query_BHTD.dtype
        self._rotation = _Rotation.of(record.cos_sin, anatomy.head_dim, self._dtype)
        shared = anatomy.heads_per_kv
        self._heads = [_head(self._attention, h, h // shared, scored_BT) for h in range(anatomy.n_heads)]

    def impacts(self, group: str, neurons: Tensor | None = None) -> Tensor:
        """Impacts [B, N] of the q or k `neurons` (int64 indices in ascending order; None: all of the layer)."""
        anatomy = self._anatomy
        if neurons is None:
            neurons = torch.arange(anatomy.widths[group], device=self._attention.query_BHTD.device)
        squared = self._heads[0].weights_BTT.new_zeros(self._heads[0].weights_BTT.shape[0], len(neurons))
        owner = neurons // anatomy.head_dim
        for own_head in owner.unique().tolist():
            columns = (owner == own_head).nonzero()[:, 0]
            coordinates = neurons[columns] - own_head * anatomy.head_dim
            squared[:, columns] = self._squared_of_head(group, own_head, coordinates)
        return squared.sqrt()

    def _squared_of_head(self, group: str, own_head: int, coordinates: Tensor) -> Tensor:
        anatomy, shared = self._anatomy, self._anatomy.heads_per_kv
        rescale = self._rescale(group, own_head, coordinates)
        own = [own_head] if group == "q" else list(range(own_head * shared, (own_head + 1) * shared))
        total = torch.zeros((), dtype=self._dtype, device=coordinates.device)
        for h in range(anatomy.n_heads) if anatomy.family.qk_norm == "full" else own:
            if h in own:
                change = self._own_change(group, own_head, h, coordinates, rescale)
            else:
                change = ScoreChange(None, None, None, None, rescale, by_row=group == "q")
            total = total + squared_impacts(self._heads[h], change)
        return total

    def _own_change(
        self, group: str, own_head: int, query_head: int, coordinates: Tensor, rescale: Tensor | None
    ) -> ScoreChange:
        attention, rotation = self._attention, self._rotation
        x = self._coordinates(getattr(self._record, group), own_head, coordinates) * attention.scaling
        partner = rotation.partner[coordinates]
        moved1, moved2 = x * rotation.cos_BDT[:, coordinates], x * rotation.sin_BDT[:, coordinates]
        kv_head = own_head // self._anatomy.heads_per_kv
        other = attention.key_BGTD[:, kv_head] if group == "q" else attention.query_BHTD[:, query_head]
        fixed1, fixed2 = other.mT[:, coordinates], other.mT[:, partner]
        if group == "q":
            return ScoreChange(moved1, fixed1, moved2, fixed2, rescale, by_row=True)
        return ScoreChange(fixed1, moved1, fixed2, moved2, rescale, by_row=False)

    def _rescale(self, group: str, own_head: int, coordinates: Tensor) -> Tensor | None:
        """r - 1 [B, N, T]: QK-norm divides by rms' instead of rms once x_k is gone, r = rms / rms' = (1 - f)^(-1/2)
        with f = x_k^2 / (width rms^2). Written with expm1 and log1p, since f is small for nearly every neuron."""
        family, width = self._anatomy.family, self._anatomy.head_dim
        if family.qk_norm is None:
            return None
        raw = getattr(self._record, f"{group}_raw").to(self._dtype)
        if family.qk_norm == "full":
            width = raw.shape[-1]
            mean_square = raw.square().mean(-1)
        else:
            mean_square = raw.unflatten(-1, (-1, width))[:, :, own_head].square().mean(-1)
        x = self._coordinates(raw, own_head, coordinates)
        fraction = x.square() / (width * (mean_square + self._norm_eps[group]))[:, None]
        return torch.expm1(-0.5 * torch.log1p(-fraction))

    def _coordinates(self, projection_BTN: Tensor, head: int, coordinates: Tensor) -> Tensor:
        """Columns of one head of a projection as [B, N, T]."""
        return projection_BTN[:, :, head * self._anatomy.head_dim + coordinates].to(self._dtype).mT


def _head(attention: AttentionRecord, query_head: int, kv_head: int, scored_BT: Tensor) -> Head:
    value = attention.value_BGTD[:, kv_head]
    value = value - value.mean(1, keepdim=True)
    weights = attention.weights_BHTT[:, query_head]
    return Head(
        scores_BTT=attention.scores_BHTT[:, query_head],
        allowed_BTT=attention.allowed_BTT,
        weights_BTT=weights,
        values_BTD=value,
        output_BTD=weights @ value,
        scored_BT=scored_BT,
        softcap=attention.softcap,
    )
