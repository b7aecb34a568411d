"""How much the passes hold at once, and what pruned detection starts from. The capacity planner counts with the same
numbers, so this file imports nothing."""

LOGIT_BYTES = 64 << 20
"""Float32 logits of a perplexity held at once; the head runs over as many tokens as fit."""

TRAINING_LOGIT_BYTES = 16 << 20
"""The same of a training loss."""

SCORE_CHUNK_ELEMENTS = 1 << 20
"""Elements of changed attention scores worked on at once, so that the passes over them stay in the processor's cache."""

N_QUERY_BLOCKS = 4
"""Blocks that the queries of a long sentence are cut into."""

MIN_QUERY_ROWS = 32
"""Shortest block of queries whose scores are changed together; a block reads only the keys up to its last query."""

WIDENED_ELEMENTS = 1 << 23
"""Elements of a weight held in float32 at once: a layer's largest matrix need not fit twice more."""

MAX_COLLECTED = 1 << 23
"""Impact values held before they are accumulated; with what that takes, about 30 bytes each."""

N_SMALLEST = 5
"""How many of a neuron's smallest per-token impacts are kept, so that "passes on all but a few sentences" can be asked later."""

IMPACT_BYTES = 3 * 4 + 4 * N_SMALLEST + 3 * 8
"""Accumulated impacts of a neuron: minimum, maximum, worst rank and the smallest ones in float32, three sums in float64."""

N_SEED_SENTENCES = 3
"""The shortest sentences of a language that certified detection measures in full."""

FLOOR_FRACTION = 0.06
"""Share of a group's neurons at or above the floor of certified detection. The default rule's loosest neighbour needs it on
SmolLM2-135M, where 0.03 took 0.87 of the time, and lowering its floor afterwards another 0.69."""

NOISE_FLOOR_BYTES = 1 << 30
"""Impacts of every neuron on every sentence, up to which the noise floor is measured without being asked for."""
