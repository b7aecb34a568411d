"""Impacts of q and k neurons of one layer (Eq. 11): from what the layer recorded to rank-2 score changes of each head.

A column of W_Q acts before RoPE. With x the projection (bias and QK-norm included) and p the rotary partner of coordinate
k, zeroing it changes the scaled scores of its head by

    X[i, j] = c x[i, k] (cos_ik K[j, k] + s sin_ip K[j, p]),    s = +1 for k in the first half, else -1,

K being the rotated keys; for W_K the roles of queries and keys swap, and every query head of the group moves.
Shapes: B sentences, T tokens, H query heads, G key-value heads, D head dim, R rotary dims, N neurons of one head.
"""

import torch
from torch import Tensor

from polyneuron.neuron_core.impacts.capture import AttentionRecord, LayerRecord
from polyneuron.neuron_core.impacts.scores import Heads, ScoreChange, squared_impacts
from polyneuron.neuron_core.model.anatomy import Anatomy


class _Rotation:
    """Where RoPE sends each coordinate of a head. partner int64 [D]; cos, sin [1 or B, D, T], sign included in sin."""

    def __init__(self, cos_sin: tuple[Tensor, Tensor], head_dim: int, dtype: torch.dtype) -> None:
        cos, sin = (table.to(dtype).mT for table in cos_sin)
        rotary, half = cos.shape[1], cos.shape[1] // 2
        partner = torch.arange(head_dim, device=cos.device)
        partner[:half] += half
        partner[half:rotary] -= half
        sign = torch.ones(rotary, 1, dtype=dtype, device=cos.device)
        sign[half:] = -1
        # partial RoPE leaves the last coordinates alone
        still = (cos.shape[0], head_dim - rotary, cos.shape[2])
        self.partner = partner
        self.cos_BDT = torch.cat([cos, cos.new_ones(still)], dim=1)
        self.sin_BDT = torch.cat([sign * sin[:, partner[:rotary]], sin.new_zeros(still)], dim=1)


class ScoreImpacts:
    """Impacts of the q and k neurons of one layer over one micro-batch. Build once, ask for either group. The unit of work
    is a pair (neuron, query head it reaches): one for a q neuron, one per query head of the group for a k neuron, all heads
    for either under a full-width QK-norm."""

    def __init__(
        self, record: LayerRecord, anatomy: Anatomy, scored_BT: Tensor, norm_eps: tuple[float, float]
    ) -> None:
        self._record, self._anatomy = record, anatomy
        self._attention = record.attention
        self._reach = {"q": 1, "k": anatomy.heads_per_kv}  # query heads that a neuron reaches
        self._norm_eps = dict(zip("qk", norm_eps, strict=True))
        self._dtype = self._attention.query_BHTD.dtype
        self._rotation = _Rotation(record.cos_sin, anatomy.head_dim, self._dtype)
        self._heads = _all_heads(self._attention, anatomy.heads_per_kv, scored_BT)

    def impacts(self, group: str, neurons: Tensor | None = None) -> Tensor:
        """Impacts [B, N] of the q or k `neurons` (int64 indices in ascending order; None: all of the layer)."""
        anatomy, heads = self._anatomy, self._heads
        if neurons is not None and anatomy.family.qk_norm != "full":
            return self._of_few(group, neurons).sqrt()
        if neurons is None:
            neurons = torch.arange(anatomy.widths[group], device=heads.weights_BMTT.device)
        owner = neurons // anatomy.head_dim
        squared = heads.weights_BMTT.new_zeros(heads.weights_BMTT.shape[0], len(neurons))
        for own_head in owner.unique().tolist():
            columns = (owner == own_head).nonzero()[:, 0]
            of_head = neurons[columns]
            rescale = self._rescale(group, of_head)
            reached = range(own_head * self._reach[group], (own_head + 1) * self._reach[group])
            for h in range(anatomy.n_heads) if anatomy.family.qk_norm == "full" else reached:
                if h in reached:
                    change = self._change(group, of_head, torch.full_like(of_head, h), rescale)
                else:
                    change = ScoreChange(rescale_BNT=rescale, by_row=group == "q")
                squared[:, columns] += squared_impacts(heads.select(slice(h, h + 1)), change)
        return squared.sqrt()

    def _of_few(self, group: str, neurons: Tensor) -> Tensor:
        """Squared impacts of neurons scattered over the heads, all pairs at once."""
        reach = self._reach[group]
        pair_neuron = neurons.repeat_interleave(reach)
        pair_head = (
            neurons[:, None] // self._anatomy.head_dim * reach + torch.arange(reach, device=neurons.device)
        ).flatten()
        change = self._change(group, pair_neuron, pair_head, self._rescale(group, pair_neuron))
        squared = squared_impacts(self._heads, change, pair_head)
        return squared.unflatten(1, (-1, reach)).sum(2)

    def _change(
        self, group: str, neurons: Tensor, query_heads: Tensor, rescale: Tensor | None
    ) -> ScoreChange:
        """The change each neuron makes to the scores of the query head beside it."""
        attention, rotation, head_dim = self._attention, self._rotation, self._anatomy.head_dim
        coordinates = neurons % head_dim
        partner = rotation.partner[coordinates]
        x = self._columns(getattr(self._record, group), neurons) * attention.scaling
        moved1, moved2 = x * rotation.cos_BDT[:, coordinates], x * rotation.sin_BDT[:, coordinates]
        heads = query_heads // self._anatomy.heads_per_kv if group == "q" else query_heads
        other = attention.key_BGTD if group == "q" else attention.query_BHTD
        # advanced indexing puts the neurons first
        fixed1, fixed2 = (other[:, heads, :, k].transpose(0, 1) for k in (coordinates, partner))
        terms = ((moved1, fixed1), (moved2, fixed2)) if group == "q" else ((fixed1, moved1), (fixed2, moved2))
        return ScoreChange(terms=terms, rescale_BNT=rescale, by_row=group == "q")

    def _rescale(self, group: str, neurons: Tensor) -> Tensor | None:
        """r - 1 [B, N, T]: QK-norm divides by rms' instead of rms once x_k is gone, r = rms / rms' = (1 - f)^(-1/2) with f
        = x_k^2 / (width rms^2). Written with expm1 and log1p, since f is small for nearly every neuron."""
        family, width = self._anatomy.family, self._anatomy.head_dim
        if family.qk_norm is None:
            return None
        raw = getattr(self._record, f"{group}_raw").to(self._dtype)
        if family.qk_norm == "full":
            width = raw.shape[-1]
            mean_square = raw.square().mean(-1)[:, None]
        else:
            mean_square = raw.unflatten(-1, (-1, width)).square().mean(-1)[..., neurons // width].mT
        fraction = self._columns(raw, neurons).square() / (width * (mean_square + self._norm_eps[group]))
        return torch.expm1(-0.5 * torch.log1p(-fraction))

    def _columns(self, projection_BTN: Tensor, neurons: Tensor) -> Tensor:
        """Columns of a projection as [B, N, T]."""
        return projection_BTN[:, :, neurons].to(self._dtype).mT


def _all_heads(attention: AttentionRecord, heads_per_kv: int, scored_BT: Tensor) -> Heads:
    value = attention.value_BGTD - attention.value_BGTD.mean(2, keepdim=True)
    value = value.repeat_interleave(heads_per_kv, dim=1)
    return Heads(
        scores_BHTT=attention.scores_BHTT,
        index_M=torch.arange(value.shape[1], device=value.device),
        weights_BMTT=attention.weights_BHTT,
        values_BMTD=value,
        output_BMTD=attention.weights_BHTT @ value,
        allowed_BTT=attention.allowed_BTT,
        scored_BT=scored_BT,
        softcap=attention.softcap,
    )
