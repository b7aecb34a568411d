"""The columns of the tables of sets. Imports neither torch nor scipy."""

import pyarrow as pa

SET_SCHEMA = pa.schema(
    [("model", pa.string()), ("layer", pa.int32()), ("group", pa.string()), ("neuron", pa.int32())]
)
"""One row per neuron."""

OVERLAP_SCHEMA = pa.schema(
    [
        ("method_a", pa.string()),
        ("method_b", pa.string()),
        ("language", pa.string()),
        ("layer", pa.int32()),
        ("n_a", pa.int64()),
        ("n_b", pa.int64()),
        ("n_common", pa.int64()),
        ("jaccard", pa.float64()),
        ("chance_common", pa.float64()),
        ("chance_low", pa.int64()),
        ("chance_high", pa.int64()),
        ("chance_jaccard", pa.float64()),
        ("p_value", pa.float64()),
    ]
)
"""One row per pair of methods and language for the whole model (layer null) and for each layer; see
`neuron_core.sets.overlap.Overlap`."""
