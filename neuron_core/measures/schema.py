"""The columns of the likelihoods of sentences. Imports no torch."""

from polyneuron.neuron_core.common.columns import Columns

LIKELIHOODS: Columns = {
    "language": ("string", "The sentence's language."),
    "sentence": ("int32", "The sentence's number among those of its language, from 0."),
    "nll_nats?": ("double", "Negative log-likelihood in nats, summed over the predicted tokens."),
    "n_tokens": ("int32", "Predicted tokens: all but the first one."),
}
"""One row per sentence, as in `polyneuron.neuron_core.measures.perplexity.SentenceNll`."""
