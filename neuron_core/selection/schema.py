"""The columns of what neighbouring rules would have selected, and of the noise floor. Imports no torch."""

import pyarrow as pa

SENSITIVITY_SCHEMA = pa.schema(
    [
        ("neighbour", pa.string()),
        ("sigma", pa.float64()),
        ("language", pa.string()),
        *((name, pa.int64()) for name in ("n_related", "n_shared", "n_exclusive")),
        *((name, pa.float64()) for name in ("shared_ratio", "jaccard_related", "jaccard_shared")),
        ("null_reason", pa.string()),
    ]
)
"""One row per neighbour and language. sigma: the neighbour's setting (sigma, fraction or ratio). jaccard_*: likeness to the
sets of the rule itself, whose own rows are named `sensitivity.OWN_RULE`. null_reason: why numbers are null."""

NOISE_FLOOR_SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("language", pa.string()),
        ("n_neurons", pa.float64()),
        *((name, pa.int64()) for name in ("n_halvings", "n_permutations")),
        *(
            (name, pa.float64())
            for name in ("half_size", "jaccard", "jaccard_low", "jaccard_high", "jaccard_chance")
        ),
        *((name, pa.float64()) for name in ("chance_size", "chance_low", "chance_high", "p_value")),
        ("null_reason", pa.string()),
    ]
)
"""One row per set of a selection. kind: shared, exclusive or strict_exclusive; language null: the shared set, or the mean over
the languages' sets. n_neurons: what the rule selects. half_size: mean over the halves. jaccard: likeness of the sets of two
halves of the sentences, mean and central 95% of the halvings; jaccard_chance: that of random sets as large. chance_*: the size
under permuted languages, mean and central 95%; of the shared set, what random sets as large as the related ones would share.
p_value: how likely chance gives n_neurons or more. null_reason: why numbers are null."""
