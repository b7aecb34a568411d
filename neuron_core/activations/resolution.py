"""How finely activations are counted, and what that takes. Imports nothing."""

PART_BITS = 5
"""A power of two is cut into 2^PART_BITS equal parts."""

LOWEST_EXPONENT, HIGHEST_EXPONENT = -14, 16
"""Powers of two between which values are told apart."""

BUCKETS_ONE_SIDE = ((HIGHEST_EXPONENT - LOWEST_EXPONENT) << PART_BITS) + 1
N_BUCKETS = 2 * BUCKETS_ONE_SIDE

SKETCH_BYTES = 4 * N_BUCKETS + 8 + 4 + 4
"""What a sketch takes, a neuron: the counts, the total, the minimum and the maximum."""
