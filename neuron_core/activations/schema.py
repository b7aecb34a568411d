"""The columns of activation statistics. Imports no torch."""

import pyarrow as pa

from polyneuron.neuron_core.activations.names import PERCENTILES
from polyneuron.neuron_core.common.columns import Columns, arrow_schema

_ALL = ", ".join(f"p{percentile}" for percentile in PERCENTILES)

ACTIVATIONS: Columns = {
    "language": ("string", "The language of the tokens."),
    "site": ("string", "Where activations were read: matched or pre_activation."),
    "layer": ("int32", "The layer, from 0."),
    "neuron": ("int32", "The ffn neuron's index in its layer, from 0."),
    "n_tokens": ("int64", "Tokens that were counted."),
    "n_positive": ("int64", "Tokens with an activation above 0."),
    "mean": ("double", "Mean activation over the tokens, off by at most 2^-21."),
    "minimum": ("float", "The smallest activation."),
    "maximum": ("float", "The largest activation."),
    **{
        f"p{percentile}": ("float", f"The {percentile}th percentile, estimated from a sketch.")
        for percentile in PERCENTILES
    },
    "above_own": (
        pa.list_(pa.int64(), len(PERCENTILES)),
        f"Tokens above the language's own {_ALL}, in this order.",
    ),
    "pooled": (
        pa.list_(pa.float32(), len(PERCENTILES)),
        f"{_ALL} of the tokens of all languages together, the same in each language of one measurement.",
    ),
    "above_pooled": (
        pa.list_(pa.int64(), len(PERCENTILES)),
        "Tokens of this language above those of `pooled`, in the same order.",
    ),
}
"""One row per language and ffn neuron, ordered by language, layer, neuron."""
ACTIVATIONS_SCHEMA = arrow_schema(ACTIVATIONS)
"""`ACTIVATIONS` in Arrow."""

CONTEXTS: Columns = {
    "language": ("string", "The language of the text."),
    "layer": ("int32", "The neuron's layer, from 0."),
    "group": ("string", "The neuron's group: q, k, v, ffn or o."),
    "neuron": ("int32", "The neuron's index in its layer and group, from 0."),
    "place": ("int32", "1 for the token on which the neuron is strongest, then 2, 3 …"),
    "value": ("float", "What the neuron computes at that token."),
    "sentence": ("int32", "The window or sentence of detection that the token stands in, from 0."),
    "position": ("int32", "Where in it the token stands, from 0."),
    "text": ("string", "The text around it, the whole sentence where that is short."),
    "start": ("int32", "The first of its characters in `text`, from 0."),
    "end": ("int32", "The character after its last one."),
}
"""One row per language, neuron and place."""
CONTEXTS_SCHEMA = arrow_schema(CONTEXTS)
"""`CONTEXTS` in Arrow."""
