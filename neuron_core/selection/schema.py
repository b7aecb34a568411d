"""The columns of what neighbouring rules would have selected. Imports no torch."""

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
