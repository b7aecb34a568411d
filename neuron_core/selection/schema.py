"""The columns of what neighbouring rules would have selected. Imports no torch."""

import pyarrow as pa

SENSITIVITY_SCHEMA = pa.schema(
    [
        ("neighbour", pa.string()),
        ("sigma", pa.float64()),
        ("language", pa.string()),
        ("n_related", pa.int64()),
        ("n_shared", pa.int64()),
        ("n_exclusive", pa.int64()),
        ("shared_ratio", pa.float64()),
        ("jaccard_related", pa.float64()),
        ("jaccard_shared", pa.float64()),
        ("null_reason", pa.string()),
    ]
)
"""One row per neighbour and language. sigma: the neighbour's setting (sigma, fraction or ratio). jaccard_*: likeness to the
sets of the rule itself, whose own rows are named `sensitivity.OWN_RULE`. null_reason: why numbers are null."""
