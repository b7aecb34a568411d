"""Impacts of q and k neurons: what zeroing one of them does to softmax(S) V (paper A, Eq. 11), exactly and stably.

Zeroing a neuron changes the scores of one head from S to S' = S - X, where X has rank 2 (a coordinate and its rotary
partner). With QK-norm the remaining coordinates are rescaled too, S' = r (S - X0), which adds -(r - 1) S to X; with a
soft-cap X becomes the difference of the capped scores. The change of the output is computed without ever subtracting two
nearly equal softmaxes: centre X under the attention weights, m = sum_j A X; then P = A expm1(m - X), p = sum_j P, and

    softmax(S') V - A V = (P V - p O) / (1 + p),   O = A V.

Shapes: B sentences, T tokens, D head dim, N neurons. Everything is float32 (float64 in oracles); i indexes queries,
j keys. All functions assume causal attention: A[i, j] = 0 for j > i.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_MAX_EXPONENT = 60.0
"""Up to here expm1 neither overflows nor revives attention weights that underflowed to zero."""

_CHUNK_ELEMENTS = 1 << 19
"""Score elements worked on at once, so that the passes over them stay in the processor's cache."""

_MIN_ROWS = 32
"""Shortest block of queries; a block reads only the keys up to its last query."""


@dataclass(frozen=True)
class Head:
    """Attention of one query head over a micro-batch, before any neuron is zeroed.

    scores_BTT: scaled scores before soft-cap and mask; allowed_BTT: bool, what the mask lets through;
    weights_BTT: attention weights A, zero where masked;
    values_BTD: V minus a constant vector per sentence (the change of the output does not depend on it);
    output_BTD: A times those values; scored_BT: rows that count; softcap: None without.
    """

    scores_BTT: Tensor
    allowed_BTT: Tensor
    weights_BTT: Tensor
    values_BTD: Tensor
    output_BTD: Tensor
    scored_BT: Tensor
    softcap: float | None


@dataclass(frozen=True)
class ScoreChange:
    """Rank-2 change of the scores of one head by each of N neurons, and the QK-norm rescaling that comes with it.

    X0[i, j] = left1[i] right1[j] + left2[i] right2[j], each [B, N, T], scale included. `rescale_BNT` holds r - 1 for
    every query (`by_row`) or every key, or None without QK-norm. `left1` None means X0 = 0 (the neuron sits in another
    head and reaches this one through a full-width norm only).
    """

    left1: Tensor | None
    right1: Tensor | None
    left2: Tensor | None
    right2: Tensor | None
    rescale_BNT: Tensor | None
    by_row: bool

    def select(self, neurons: slice | Tensor) -> ScoreChange:
        """The same for some of the neurons."""
        parts = [
            part if part is None else part[:, neurons]
            for part in (self.left1, self.right1, self.left2, self.right2, self.rescale_BNT)
        ]
        return ScoreChange(*parts, by_row=self.by_row)

    @property
    def n_neurons(self) -> int:
        """N."""
        some = self.rescale_BNT if self.left1 is None else self.left1
        assert some is not None
        return some.shape[1]


def squared_impacts(head: Head, change: ScoreChange) -> Tensor:
    """Squared Frobenius norm [B, N] of the change of this head's output over the scored rows, for each neuron.

    Sum it over the query heads a neuron reaches, then take the root (Eq. 11 with GQA).
    """
    batch, length = head.scored_BT.shape
    step = max(1, _CHUNK_ELEMENTS // (batch * length * length))
    total = head.weights_BTT.new_zeros(batch, change.n_neurons)
    for start in range(0, change.n_neurons, step):
        part = change.select(slice(start, start + step))
        total[:, start : start + step] = _chunk_squared(head, part)
    return total


def _chunk_squared(head: Head, change: ScoreChange) -> Tensor:
    length = head.scored_BT.shape[1]
    block = max(_MIN_ROWS, -(-length // 4))
    squared = head.weights_BTT.new_zeros(head.scored_BT.shape[0], change.n_neurons)
    for start in range(0, length, block):
        rows = slice(start, min(start + block, length))
        squared += _block_squared(head, change, rows, slice(0, rows.stop))
    return squared


def _block_squared(head: Head, change: ScoreChange, rows: slice, columns: slice) -> Tensor:
    weights = head.weights_BTT[:, None, rows, columns]
    if change.rescale_BNT is None and head.softcap is None:
        exponent, largest = _rank3_exponent(change, weights, rows, columns)
    else:
        shift = _score_shift(head, change, rows, columns)
        exponent = (weights * shift).sum(-1, keepdim=True) - shift
        largest = exponent.abs().amax((-2, -1))
    moved = exponent.expm1_().mul_(weights)
    mass = moved.sum(-1)
    delta = moved @ head.values_BTD[:, None, columns]
    delta.addcmul_(mass[..., None], head.output_BTD[:, None, rows], value=-1)
    per_row = torch.linalg.vector_norm(delta, dim=-1).div_(mass.add_(1)).square_()
    scored = head.scored_BT[:, None, rows]
    squared = (per_row * scored).sum(-1)
    if (extreme := (largest > _MAX_EXPONENT).any(0)).any():
        squared[:, extreme] = _extreme_squared(head, change.select(extreme), rows, columns)
    return squared


def _rank3_exponent(change: ScoreChange, weights: Tensor, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
    """m - X [B, N, rows, columns] as one product of rank 3 (two outer products and the row means), and a bound [B, N]."""
    assert change.left1 is not None and change.left2 is not None
    assert change.right1 is not None and change.right2 is not None
    left1, left2 = change.left1[..., rows], change.left2[..., rows]
    right1, right2 = change.right1[..., columns], change.right2[..., columns]
    averaged1 = (right1 @ weights[:, 0].mT) * left1
    averaged2 = (right2 @ weights[:, 0].mT) * left2
    mean = averaged1 + averaged2
    left = torch.stack([-left1, -left2, mean], dim=-1)
    right = torch.stack([right1, right2, torch.ones_like(right1)], dim=-2)
    bound = (left.abs().amax(-2) * right.abs().amax(-1)).sum(-1)
    return left @ right, bound


def _score_shift(head: Head, change: ScoreChange, rows: slice, columns: slice) -> Tensor:
    """X = S - S' [B, N, rows, columns] explicitly, after QK-norm's rescaling and the soft-cap."""
    scores = head.scores_BTT[:, None, rows, columns]
    shift = _rank2_shift(change, rows, columns)
    if change.rescale_BNT is not None:
        rescale = change.rescale_BNT[..., rows, None] if change.by_row else change.rescale_BNT[..., None, columns]
        shift = -rescale * scores if shift is None else shift + rescale * (shift - scores)
    assert shift is not None
    if head.softcap is not None:
        # tanh a - tanh b = tanh(a - b) (1 - tanh a tanh b) keeps the digits of a small difference
        capped = torch.tanh(scores / head.softcap)
        after = torch.tanh((scores - shift) / head.softcap)
        shift = head.softcap * torch.tanh(shift / head.softcap) * (1 - capped * after)
    return shift


def _rank2_shift(change: ScoreChange, rows: slice, columns: slice) -> Tensor | None:
    if change.left1 is None:
        return None
    assert change.left2 is not None and change.right1 is not None and change.right2 is not None
    shift = change.left1[..., rows, None] * change.right1[..., None, columns]
    return shift.addcmul_(change.left2[..., rows, None], change.right2[..., None, columns])


def _extreme_squared(head: Head, change: ScoreChange, rows: slice, columns: slice) -> Tensor:
    """The same squares from softmax(S') itself, for changes so large that expm1 would overflow."""
    scores = head.scores_BTT[:, None, rows, columns]
    if head.softcap is not None:
        scores = head.softcap * torch.tanh(scores / head.softcap)
    changed = scores - _score_shift(head, change, rows, columns)
    allowed = head.allowed_BTT[:, None, rows, columns]
    after = torch.softmax(changed.masked_fill(~allowed, torch.finfo(changed.dtype).min), dim=-1)
    delta = (after - head.weights_BTT[:, None, rows, columns]) @ head.values_BTD[:, None, columns]
    return (delta.square().sum(-1) * head.scored_BT[:, None, rows]).sum(-1)
