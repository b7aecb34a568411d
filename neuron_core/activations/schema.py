"""The columns of activation statistics. Imports no torch."""

import pyarrow as pa

from polyneuron.neuron_core.activations.names import PERCENTILES

ACTIVATIONS_SCHEMA = pa.schema(
    [
        ("language", pa.string()),
        ("site", pa.string()),
        ("layer", pa.int32()),
        ("neuron", pa.int32()),
        ("n_tokens", pa.int64()),
        ("n_positive", pa.int64()),
        ("mean", pa.float64()),
        ("minimum", pa.float32()),
        ("maximum", pa.float32()),
        *((f"p{percentile}", pa.float32()) for percentile in PERCENTILES),
        ("above_own", pa.list_(pa.int64(), len(PERCENTILES))),
        ("pooled", pa.list_(pa.float32(), len(PERCENTILES))),
        ("above_pooled", pa.list_(pa.int64(), len(PERCENTILES))),
    ]
)
"""One row per language and ffn neuron, ordered by language, layer, neuron; `ActivationStatistics` says what each number is.
The lists follow `PERCENTILES`; `pooled` is the same in every language of one measurement."""
