"""Impacts of q and k neurons: what zeroing one of them does to softmax(S) V (paper A, Eq. 11), exactly and stably.

Zeroing a neuron changes the scores of one head from S to S' = S - X, where X has rank 2 (a coordinate and its rotary
partner). With QK-norm the remaining coordinates are rescaled too, S' = r (S - X0), which adds -(r - 1) S to X; with a
soft-cap X becomes the difference of the capped scores. The change of the output is computed without ever subtracting two
nearly equal softmaxes: centre X under the attention weights, m = sum_j A X; then P = A expm1(m - X), p = sum_j P, and

    softmax(S') V - A V = (P V - p O) / (1 + p),   O = A V.

Shapes: B sentences, T tokens, D head dim, N neurons, M = 1 where all N neurons share one query head, else M = N. Everything
is float32 (float64 in oracles); i indexes queries, j keys. All functions assume causal attention: A[i, j] = 0 for j > i.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from polyneuron.neuron_core.passes.limits import MIN_QUERY_ROWS, N_QUERY_BLOCKS, SCORE_CHUNK_ELEMENTS

_MAX_EXPONENT = 60.0
"""Up to here expm1 neither overflows nor revives attention weights that underflowed to zero."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Heads:
    """Attention of the query heads that N neurons reach, over a micro-batch, before any neuron is zeroed."""

    scores_BHTT: Tensor
    """Scaled scores of all heads before soft-cap and mask."""
    index_M: Tensor
    """The heads that are meant; their scores are gathered only when asked for."""
    weights_BMTT: Tensor
    """Attention weights A, zero where masked."""
    values_BMTD: Tensor
    """V minus a constant vector per sentence, on which the change of the output does not depend."""
    output_BMTD: Tensor
    """A times those values."""
    allowed_BTT: Tensor
    """bool, what the mask lets through."""
    scored_BT: Tensor
    """bool, the rows that count."""
    softcap: float | None
    """Soft-cap of the scores."""

    def select(self, heads: Tensor | slice) -> Heads:
        """Some of the heads, in the order given."""
        return replace(
            self,
            index_M=self.index_M[heads],
            weights_BMTT=self.weights_BMTT[:, heads],
            values_BMTD=self.values_BMTD[:, heads],
            output_BMTD=self.output_BMTD[:, heads],
        )

    def scores(self, rows: slice, columns: slice) -> Tensor:
        """Scaled scores [B, M, rows, columns] before soft-cap and mask."""
        return self.scores_BHTT[:, self.index_M, rows, columns]

    def of_neurons(self, neurons: slice | Tensor) -> Heads:
        """The heads that belong to some of the neurons."""
        return self if self.weights_BMTT.shape[1] == 1 else self.select(neurons)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreChange:
    """Rank-2 change of the scores of a query head by each of N neurons, and the QK-norm rescaling that comes with it."""

    terms: Sequence[tuple[Tensor, Tensor]] = ()
    """Two pairs (left, right), each [B, N, T], scale included: X0[i, j] is the sum over pairs of left[i] right[j]. None means
    X0 = 0: the neuron sits in another head and reaches this one through a full-width norm only."""
    rescale_BNT: Tensor | None
    """r - 1 for every query (`by_row`) or every key; None without QK-norm."""
    by_row: bool
    """Whether queries are rescaled, not keys."""

    def select(self, neurons: slice | Tensor) -> ScoreChange:
        """The same for some of the neurons."""
        return ScoreChange(
            terms=[(left[:, neurons], right[:, neurons]) for left, right in self.terms],
            rescale_BNT=None if self.rescale_BNT is None else self.rescale_BNT[:, neurons],
            by_row=self.by_row,
        )

    @property
    def n_neurons(self) -> int:
        """N, the number of neurons."""
        part = self.terms[0][0] if self.terms else self.rescale_BNT
        assert part is not None
        return part.shape[1]


def squared_impacts(heads: Heads, change: ScoreChange, reached_N: Tensor | None = None) -> Tensor:
    """Squared Frobenius norm [B, N] of the change of one head's output over the scored rows, for each neuron. Sum it over
    the query heads a neuron reaches, then take the root (Eq. 11 with GQA). `reached_N`: which of `heads` each neuron reaches,
    gathered for as many neurons as are worked on at once; None: `heads` are one for all, or one for each."""
    batch, length = heads.scored_BT.shape
    step = max(1, SCORE_CHUNK_ELEMENTS // (batch * length * length))
    parts = [
        _chunk_squared(
            heads.of_neurons(neurons) if reached_N is None else heads.select(reached_N[neurons]),
            change.select(neurons),
        )
        for neurons in (slice(start, start + step) for start in range(0, change.n_neurons, step))
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _chunk_squared(heads: Heads, change: ScoreChange) -> Tensor:
    length = heads.scored_BT.shape[1]
    block = max(MIN_QUERY_ROWS, -(-length // N_QUERY_BLOCKS))
    squared = heads.weights_BMTT.new_zeros(heads.scored_BT.shape[0], change.n_neurons)
    for start in range(0, length, block):
        rows = slice(start, min(start + block, length))
        squared += _block_squared(heads, change, rows, slice(0, rows.stop))
    return squared


def _block_squared(heads: Heads, change: ScoreChange, rows: slice, columns: slice) -> Tensor:
    weights = heads.weights_BMTT[..., rows, columns]
    if change.rescale_BNT is None and heads.softcap is None:
        exponent, largest = _rank3_exponent(change, weights, rows, columns)
    else:
        shift = _score_shift(heads, change, rows, columns)
        exponent = (weights * shift).sum(-1, keepdim=True) - shift
        largest = exponent.abs().amax((-2, -1))
    moved = exponent.expm1_().mul_(weights)
    mass = moved.sum(-1)
    delta = _applied(moved, heads.values_BMTD[..., columns, :])
    delta.addcmul_(mass[..., None], heads.output_BMTD[..., rows, :], value=-1)
    per_row = torch.linalg.vector_norm(delta, dim=-1).div_(mass.add_(1)).square_()
    squared = (per_row * heads.scored_BT[:, None, rows]).sum(-1)
    if (extreme := (largest > _MAX_EXPONENT).any(0)).any():
        chosen = heads.of_neurons(extreme), change.select(extreme)
        squared[:, extreme] = _extreme_squared(*chosen, rows, columns)
    return squared


def _applied(moved: Tensor, values: Tensor) -> Tensor:
    """P V [B, N, rows, D]. Values shared by all neurons make one tall product; broadcasting would copy them N times."""
    if values.shape[1] == 1:
        return (moved.flatten(1, 2) @ values[:, 0]).view(*moved.shape[:3], -1)
    return moved @ values


def _rank3_exponent(
    change: ScoreChange, weights: Tensor, rows: slice, columns: slice
) -> tuple[Tensor, Tensor]:
    """m - X [B, N, rows, columns] as one product of rank 3 (two outer products and the row means), and a bound [B, N]."""
    (left1, right1), (left2, right2) = (
        (left[..., rows], right[..., columns]) for left, right in change.terms
    )
    mean = left1 * _averaged(weights, right1) + left2 * _averaged(weights, right2)
    left = torch.stack([-left1, -left2, mean], dim=-1)
    right = torch.stack([right1, right2, torch.ones_like(right1)], dim=-2)
    bound = (left.abs().amax(-2) * right.abs().amax(-1)).sum(-1)
    return left @ right, bound


def _averaged(weights: Tensor, right: Tensor) -> Tensor:
    """sum_j A[i, j] right[j], [B, N, rows]."""
    if weights.shape[1] == 1:
        return right @ weights[:, 0].mT
    return (weights @ right[..., None])[..., 0]


def _score_shift(heads: Heads, change: ScoreChange, rows: slice, columns: slice) -> Tensor:
    """X = S - S' [B, N, rows, columns] explicitly, after QK-norm's rescaling and the soft-cap."""
    scores = heads.scores(rows, columns)
    shift = _rank2_shift(change, rows, columns)
    if change.rescale_BNT is not None:
        rescale = (
            change.rescale_BNT[..., rows, None] if change.by_row else change.rescale_BNT[..., None, columns]
        )
        shift = -rescale * scores if shift is None else shift + rescale * (shift - scores)
    assert shift is not None
    if heads.softcap is not None:
        # tanh a - tanh b = tanh(a - b) (1 - tanh a tanh b) keeps the digits of a small difference
        capped = torch.tanh(scores / heads.softcap)
        after = torch.tanh((scores - shift) / heads.softcap)
        shift = heads.softcap * torch.tanh(shift / heads.softcap) * (1 - capped * after)
    return shift


def _rank2_shift(change: ScoreChange, rows: slice, columns: slice) -> Tensor | None:
    if not change.terms:
        return None
    (left1, right1), (left2, right2) = change.terms
    shift = left1[..., rows, None] * right1[..., None, columns]
    return shift.addcmul_(left2[..., rows, None], right2[..., None, columns])


def _extreme_squared(heads: Heads, change: ScoreChange, rows: slice, columns: slice) -> Tensor:
    """The same squares from softmax(S') itself, for changes so large that expm1 would overflow."""
    scores = heads.scores(rows, columns)
    if heads.softcap is not None:
        scores = heads.softcap * torch.tanh(scores / heads.softcap)
    changed = scores - _score_shift(heads, change, rows, columns)
    allowed = heads.allowed_BTT[:, None, rows, columns]
    after = torch.softmax(changed.masked_fill(~allowed, torch.finfo(changed.dtype).min), dim=-1)
    delta = (after - heads.weights_BMTT[..., rows, columns]) @ heads.values_BMTD[..., columns, :]
    return (delta.square().sum(-1) * heads.scored_BT[:, None, rows]).sum(-1)
