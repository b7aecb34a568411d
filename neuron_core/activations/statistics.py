"""What the sketches of one layer say: counts, means, percentiles, and how often each percentile is exceeded.

Exceedance is counted, not interpolated: the threshold is the upper edge of the bucket that holds the percentile, and
the count of tokens above that edge is exact. So only the threshold is approximate, by at most twice the error of
the percentile, and never the count.
Shapes: L languages, I neurons, P = len(PERCENTILES).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from polyneuron.neuron_core.activations.buckets import (
    bucket_edges,
    counts_above,
    cumulative,
    percentile_buckets,
)
from polyneuron.neuron_core.activations.names import PERCENTILES
from polyneuron.neuron_core.activations.sketch import ActivationSketch

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LayerStatistics:
    """Statistics of one layer's neurons in each language.

    n_tokens int64 [L]; n_positive int64 [L, I]: tokens with an activation above 0, exact; mean float64 [L, I];
    minimum, maximum float32 [L, I], exact; percentiles float32 [L, I, P]: estimates (error: see
    `neuron_core.activations.buckets`), never outside minimum to maximum; above_own int64 [L, I, P]: tokens
    above the language's own percentile; pooled float32 [I, P]: percentiles of the tokens of all languages
    together, as upper bucket edges; above_pooled int64 [L, I, P]: tokens above those.
    """

    n_tokens: Ints
    n_positive: Ints
    mean: Doubles
    minimum: Floats
    maximum: Floats
    percentiles: Floats
    above_own: Ints
    pooled: Floats
    above_pooled: Ints


def layer_statistics(sketches: Mapping[str, ActivationSketch]) -> LayerStatistics:
    """Statistics of the sketches of one layer, one per language, in their order; each of at least one token.

    Pooling counts every token once, so a language with more tokens weighs more.
    """
    edges, found = bucket_edges(), list(sketches.values())
    middles = (edges[1:] + edges[:-1]) / 2
    up_to_zero_I1 = torch.full((len(found[0].total), 1), int((edges == 0).nonzero()) - 1)
    pooled_IK = torch.zeros(found[0].counts.shape, dtype=torch.int64)
    for sketch in found:
        pooled_IK += sketch.counts
    pooled_IP = percentile_buckets(cumulative(pooled_IK), PERCENTILES)
    positive, percentiles, own, pooled = [], [], [], []
    for sketch in found:
        below_IK = cumulative(sketch.counts)
        buckets_IP = percentile_buckets(below_IK, PERCENTILES)
        least, most = sketch.minimum[:, None], sketch.maximum[:, None]
        percentiles.append(middles[buckets_IP].clamp(least, most).numpy())
        positive.append(counts_above(below_IK, up_to_zero_I1)[:, 0].numpy())
        own.append(counts_above(below_IK, buckets_IP).numpy())
        pooled.append(counts_above(below_IK, pooled_IP).numpy())
    return LayerStatistics(
        n_tokens=np.array([sketch.n_tokens for sketch in found], np.int64),
        n_positive=np.stack(positive),
        mean=np.stack([sketch.mean() for sketch in found]),
        minimum=np.stack([sketch.minimum.numpy() for sketch in found]),
        maximum=np.stack([sketch.maximum.numpy() for sketch in found]),
        percentiles=np.stack(percentiles),
        above_own=np.stack(own),
        pooled=edges[pooled_IP + 1].numpy(),
        above_pooled=np.stack(pooled),
    )
