"""The columns of the likelihoods of sentences. Imports no torch."""

import pyarrow as pa

LIKELIHOODS_SCHEMA = pa.schema(
    [
        ("language", pa.string()),
        ("sentence", pa.int32()),
        ("nll_nats", pa.float64()),
        ("n_tokens", pa.int32()),
    ]
)
"""One row per sentence; see `polyneuron.neuron_core.measures.perplexity.SentenceNll`."""
