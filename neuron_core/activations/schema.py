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

CONTEXTS_SCHEMA = pa.schema(
    [
        ("language", pa.string()),
        ("layer", pa.int32()),
        ("group", pa.string()),
        ("neuron", pa.int32()),
        ("place", pa.int32()),
        ("value", pa.float32()),
        ("sentence", pa.int32()),
        ("position", pa.int32()),
        ("window", pa.list_(pa.int32())),
        ("at", pa.int32()),
    ]
)
"""One row per language, neuron and place, 1 for the token on which the neuron is strongest. value: what it computes there;
sentence, position: the sentence or window of detection, and where in it the token stands; window: ids of tokens around it, and
`at` its own place among them, from 0."""
