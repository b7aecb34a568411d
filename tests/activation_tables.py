"""Activation tables made from counts, for tests of what is computed from them."""

import numpy as np

from polyneuron.neuron_core.activations.names import PERCENTILES
from polyneuron.neuron_core.activations.table import ActivationTable


def table_of_counts(positive, n_tokens, above_own=None, above_pooled=None) -> ActivationTable:
    """Languages l0, l1, … with the given counts [L, D, I]; counts above percentiles hold for all of them."""
    positive = np.asarray(positive, np.int64)
    n_percentiles = len(PERCENTILES)

    def repeated(counts):
        counts = np.asarray(positive if counts is None else counts, np.int64)
        return np.broadcast_to(counts[..., None], (*counts.shape, n_percentiles))

    return ActivationTable(
        model="m",
        site="matched",
        languages=tuple(f"l{at}" for at in range(len(positive))),
        n_tokens=np.asarray(n_tokens, np.int64),
        n_positive=positive,
        mean=np.zeros(positive.shape),
        minimum=np.zeros(positive.shape, np.float32),
        maximum=np.zeros(positive.shape, np.float32),
        percentiles=np.broadcast_to(np.float32(0), (*positive.shape, n_percentiles)),
        above_own=repeated(above_own),
        pooled=np.zeros((*positive.shape[1:], n_percentiles), np.float32),
        above_pooled=repeated(above_pooled),
    )
