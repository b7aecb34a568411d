"""The columns of what is measured: likelihoods of sentences, and equations 4 to 6. Imports no torch."""

import pyarrow as pa

LIKELIHOODS_SCHEMA = pa.schema(
    [
        ("language", pa.string()),
        ("sentence", pa.int32()),
        ("nll_nats", pa.float64()),
        ("n_tokens", pa.int32()),
    ]
)
"""One row per sentence; see `neuron_core.measures.perplexity.SentenceNll`."""

METRICS_SCHEMA = pa.schema(
    [
        ("metric", pa.string()),
        ("language", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("null_reason", pa.string()),
        ("n_bootstrap", pa.int64()),
        ("seed", pa.int64()),
    ]
)
"""One row per metric and language, null for the whole model; see `neuron_core.measures.language_agnostic.Estimate`."""
