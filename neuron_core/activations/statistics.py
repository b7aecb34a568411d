"""What the sketches of one layer say: counts, means, percentiles, and how often each percentile is exceeded.

Exceedance is counted, not interpolated: the threshold is the upper edge of the bucket that holds the percentile, and
the count of tokens above that edge is exact. So only the threshold is approximate, by at most twice the error of
the percentile, and never the count.
Shapes: L languages, I neurons, P = len(PERCENTILES).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from polyneuron.neuron_core.activations import buckets
from polyneuron.neuron_core.activations.names import PERCENTILES
from polyneuron.neuron_core.activations.sketch import ActivationSketch

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivationStatistics:
    """Statistics of neurons in each of L languages: of one layer, S = [I], or of all D layers, S = [D, I]."""

    n_tokens: Ints
    """int64 [L], tokens that were counted."""
    n_positive: Ints
    """int64 [L, *S], tokens with an activation above 0, exact."""
    mean: Doubles
    """float64 [L, *S], off by at most 2^-21."""
    minimum: Floats
    """float32 [L, *S], exact."""
    maximum: Floats
    """float32 [L, *S], exact."""
    percentiles: Floats
    """float32 [L, *S, P], estimates (their error: `neuron_core.activations.buckets`) within minimum and maximum."""
    above_own: Ints
    """int64 [L, *S, P], tokens above the language's own percentile."""
    pooled: Floats
    """float32 [*S, P], percentiles of the tokens of all languages together, as upper bucket edges."""
    above_pooled: Ints
    """int64 [L, *S, P], tokens above the pooled percentile."""


def layer_statistics(sketches: Mapping[str, ActivationSketch]) -> ActivationStatistics:
    """The statistics of one layer from its sketches, one per language and each of at least one token, in their order.
    Pooling counts every token once, so a language with more tokens weighs more."""
    edges, of_languages = buckets.bucket_edges(), list(sketches.values())
    middles = (edges[1:] + edges[:-1]) / 2
    up_to_zero_I1 = torch.full((len(of_languages[0].total), 1), int((edges == 0).nonzero()) - 1)
    pooled_IK = torch.zeros(of_languages[0].counts.shape, dtype=torch.int64)
    for sketch in of_languages:
        pooled_IK += sketch.counts
    pooled_IP = buckets.percentile_buckets(buckets.cumulative(pooled_IK), PERCENTILES)
    positive, percentiles, own, pooled = [], [], [], []
    for sketch in of_languages:
        below_IK = buckets.cumulative(sketch.counts)
        buckets_IP = buckets.percentile_buckets(below_IK, PERCENTILES)
        least, most = sketch.minimum[:, None], sketch.maximum[:, None]
        percentiles.append(middles[buckets_IP].clamp(least, most).numpy())
        positive.append(buckets.counts_above(below_IK, up_to_zero_I1)[:, 0].numpy())
        own.append(buckets.counts_above(below_IK, buckets_IP).numpy())
        pooled.append(buckets.counts_above(below_IK, pooled_IP).numpy())
    return ActivationStatistics(
        n_tokens=np.array([sketch.n_tokens for sketch in of_languages], np.int64),
        n_positive=np.stack(positive),
        mean=np.stack([sketch.mean() for sketch in of_languages]),
        minimum=np.stack([sketch.minimum.numpy() for sketch in of_languages]),
        maximum=np.stack([sketch.maximum.numpy() for sketch in of_languages]),
        percentiles=np.stack(percentiles),
        above_own=np.stack(own),
        pooled=edges[pooled_IP + 1].numpy(),
        above_pooled=np.stack(pooled),
    )
