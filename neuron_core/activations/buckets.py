"""Buckets: float32 values as small integers in the same order, and the percentiles that counts per bucket give.

A bucket is an interval (low, high]. Between 2^-14 and 2^16, the normal range of half precision, every power of two
is cut into 32 equal parts, for both signs; what is closer to zero falls into (0, 2^-14] or (-2^-14, 0]. Zero is an
edge, so counts tell exactly how many values are positive. The number of the bucket is read off the value's bits:
no logarithm is rounded, so every device and every order of adding gives the same integers.

The percentile q of n values is the ceil(q n / 100)-th smallest of them (the inverse of the empirical distribution
function, as numpy's "inverted_cdf"). Its estimate is the middle of that value's bucket, which is off by at most
max(2^-6 |value|, 2^-15).
Shapes: n values (tokens), I neurons, K = `N_BUCKETS`, P percentiles.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from polyneuron.neuron_core.activations.names import (
    BUCKETS_ONE_SIDE,
    HIGHEST_EXPONENT,
    LOWEST_EXPONENT,
    N_BUCKETS,
    PART_BITS,
)

LARGEST = 2.0**HIGHEST_EXPONENT
"""Values must be smaller than this in magnitude."""
RELATIVE_ERROR = 2.0 ** -(PART_BITS + 1)
ABSOLUTE_ERROR = 2.0 ** (LOWEST_EXPONENT - 1)

_PARTS = 1 << PART_BITS
_MANTISSA_BITS, _BIAS = 23, 127
_SHIFT = _MANTISSA_BITS - PART_BITS
_NEAREST = (_BIAS + LOWEST_EXPONENT) * _PARTS - 1
_FARTHEST = (_BIAS + HIGHEST_EXPONENT) * _PARTS - 1


def bucket_of(values: Tensor) -> Tensor:
    """The bucket of each float32 value, int32. NaN and values from `LARGEST` on land in an outermost bucket."""
    positive = values > 0
    bits = values.contiguous().view(torch.int32) & 0x7FFFFFFF
    # subtracting one puts a positive edge itself into the bucket below it, as (low, high] asks
    steps = ((bits - positive.int()) >> _SHIFT).clamp_(_NEAREST, _FARTHEST).sub_(_NEAREST)
    return torch.where(positive, BUCKETS_ONE_SIDE + steps, BUCKETS_ONE_SIDE - 1 - steps)


def bucket_edges() -> Tensor:
    """The edges of the buckets, float32 [K + 1], ascending and exact: bucket k holds edges[k] < value <= edges[k + 1]."""
    step = torch.arange(BUCKETS_ONE_SIDE)
    magnitudes = torch.ldexp(1 + (step % _PARTS) / _PARTS, LOWEST_EXPONENT + step // _PARTS)
    return torch.cat([-magnitudes.flip(0), torch.zeros(1), magnitudes])


def count_buckets(counts_IK: Tensor, values_nI: Tensor) -> None:
    """Adds n float32 values of each of I neurons to their int32 counts, in place."""
    n_neurons = counts_IK.shape[0]
    rows = torch.arange(n_neurons, dtype=torch.int32, device=values_nI.device) * N_BUCKETS
    index = (bucket_of(values_nI) + rows).flatten()
    one = torch.ones(1, dtype=torch.int32, device=values_nI.device)
    counts_IK.view(-1).index_add_(0, index, one.expand(len(index)))


def rank_of(percentile: int, n: int) -> int:
    """The rank (from 1) of the percentile among n sorted values."""
    return max(1, -(-percentile * n // 100))


def cumulative(counts_IK: Tensor) -> Tensor:
    """How many values of each neuron lie in each bucket or below it, int64 [I, K]."""
    return counts_IK.cumsum(1, dtype=torch.int64)


def percentile_buckets(below_IK: Tensor, percentiles: Sequence[int]) -> Tensor:
    """The bucket that holds each percentile, int64 [I, P], from the cumulative counts of equally many values of every
    neuron, at least one."""
    ranks = torch.tensor([rank_of(percentile, int(below_IK[0, -1])) for percentile in percentiles])
    return torch.searchsorted(below_IK, ranks.to(below_IK.device).expand(len(below_IK), -1).contiguous())


def counts_above(below_IK: Tensor, buckets_IP: Tensor) -> Tensor:
    """How many values exceed the upper edge of each bucket, int64 [I, P]; exact, as the edge is no estimate."""
    return below_IK[:, -1:] - below_IK.gather(1, buckets_IP)
