"""How much is held and measured at once: numbers that the passes work by and the planner counts with. Imports nothing."""

N_SEED_SENTENCES = 3
"""Sentences of a language, its shortest, that certified detection measures in full."""

FLOOR_FRACTION = 0.03
"""Share of a group's neurons, those with the largest minima, that certified detection goes on measuring by default."""

N_SMALLEST = 5
"""How many of the smallest per-token impacts are kept, so that "passes on all but a few sentences" can be asked later."""

IMPACT_BYTES = 3 * 4 + 4 * N_SMALLEST + 3 * 8
"""What accumulated impacts take, a neuron: minimum, maximum, worst rank and the smallest in float32, three sums in float64."""

COLLECTED_IMPACTS = 1 << 23
"""Impact values held before they are accumulated; with what that takes, about 30 bytes each."""

SCORE_CHUNK_ELEMENTS = 1 << 20
"""Changed attention scores worked on at once, so that the passes over them stay in the processor's cache."""

N_SCORE_BLOCKS = 4
"""Blocks that the queries of a long sentence are cut into; a block reads only the keys up to its last query."""

SHORTEST_SCORE_BLOCK = 32
"""Queries of a block, at least."""

WIDENED_ELEMENTS = 1 << 23
"""Elements of a weight held in float32 at once: a layer's largest matrix need not fit twice more."""

PERPLEXITY_LOGIT_BYTES = 64 << 20
"""Logits that perplexity holds at once, in float32; the head runs over as many tokens as fit."""

TRAINING_LOGIT_BYTES = 16 << 20
"""Logits that the training loss holds at once, in float32."""
