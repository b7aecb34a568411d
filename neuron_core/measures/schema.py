"""The columns of the likelihoods of sentences, and of the logit lens. Imports no torch."""

from polyneuron.neuron_core.common.columns import Columns, arrow_schema

LIKELIHOODS: Columns = {
    "language": ("string", "The sentence's language."),
    "sentence": ("int32", "The sentence's number among those of its language, from 0."),
    "nll_nats?": ("double", "Negative log-likelihood in nats, summed over the predicted tokens."),
    "n_tokens": ("int32", "Predicted tokens: all but the first one."),
}
"""One row per sentence, as in `polyneuron.neuron_core.measures.perplexity.SentenceNll`."""

LENS: Columns = {
    "layer": ("int32", "The neuron's layer, from 0."),
    "group": ("string", "The neuron's group: v, ffn or o."),
    "neuron": ("int32", "The neuron's index in its layer and group, from 0."),
    "direction": (
        "int32",
        "Which of its directions, from 0: a v neuron has one for each query head that reads it.",
    ),
    "promoted": ("bool", "Whether the token's logit rises with the neuron's output, or falls."),
    "place": ("int32", "1 for the token whose logit is moved most, then 2, 3 …"),
    "token": ("int32", "The token's id."),
    "text": ("string", "What it stands for; a part of a character is spelt as its bytes."),
    "logit": (
        "float",
        "What a unit of output adds to its logit, up to a positive factor; 0 is the mean of the vocabulary.",
    ),
}
"""One row per neuron, direction, end and place, as in `polyneuron.neuron_core.measures.logit_lens`."""
LENS_SCHEMA = arrow_schema(LENS)
"""`LENS` in Arrow."""
