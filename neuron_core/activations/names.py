"""The words of activation statistics: where activations are read, what is kept of them and how finely. Imports nothing heavy."""

from typing import Literal, get_args

Site = Literal["matched", "pre_activation"]
"""Where an activation is read (`neuron_core.activations.measure`)."""
SITES: tuple[Site, ...] = get_args(Site)

Statistic = Literal["mean", "p5", "p10", "p25", "p50", "p75", "p90", "p95"]
"""One number per neuron and language: the mean, or a percentile."""
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)
PERCENTILES: tuple[int, ...] = tuple(int(name[1:]) for name in STATISTICS if name != "mean")

PART_BITS = 5
"""A power of two is cut into 2^PART_BITS equal parts."""

LOWEST_EXPONENT, HIGHEST_EXPONENT = -14, 16
"""Powers of two between which values are told apart."""

BUCKETS_ONE_SIDE = ((HIGHEST_EXPONENT - LOWEST_EXPONENT) << PART_BITS) + 1
N_BUCKETS = 2 * BUCKETS_ONE_SIDE

SKETCH_BYTES = 4 * N_BUCKETS + 8 + 4 + 4
"""What a sketch takes, a neuron: the counts, the total, the minimum and the maximum."""
