"""The columns of detection's two tables. Imports no torch."""

import pyarrow as pa

from polyneuron.neuron_core.common.columns import Columns, arrow_schema

IMPACTS: Columns = {
    "language": ("string", "The language of the sentences."),
    "layer": ("int32", "The layer, from 0."),
    "group": ("string", "q, k, v, ffn or o."),
    "neuron": ("int32", "The neuron's index in its layer and group, from 0."),
    "impact_min": (
        "float",
        "Frobenius norm of the change of the layer's output, the smallest of all sentences.",
    ),
    "impact_mean?": ("float", "The same norm, mean over the sentences."),
    "impact_max?": ("float", "The same norm, the largest of all sentences."),
    "impact_rms_min": (
        "float",
        "The smallest impact per token: the norm over the square root of the scored tokens.",
    ),
    "impact_seed": (
        "float",
        "Root mean square of the impact per token over the seed sentences, which are measured in full in every mode.",
    ),
    "impact_smallest?": (pa.list_(pa.float32()), "Up to 5 smallest impacts per token, ascending."),
    "rank_worst?": (
        "float",
        "The largest rank in any sentence, as a fraction of the layer's neurons of the group; null where not every neuron was "
        "measured.",
    ),
    "bounded": ("bool", "Whether the minima are upper bounds, over the seed sentences alone."),
    "impact_seed_min?": (
        "float",
        "impact_min over the seed sentences, of q and k neurons that pruned detection went on to measure; a lower floor follows "
        "from it.",
    ),
    "impact_seed_rms_min?": ("float", "impact_rms_min over the seed sentences, of the same neurons."),
}
"""One row per language and neuron."""
IMPACTS_SCHEMA = arrow_schema(IMPACTS)
"""`IMPACTS` in Arrow."""

SUMMARY: Columns = {
    "language": ("string", "The language of the sentences."),
    "group": ("string", "q, k, v, ffn or o."),
    "n_sentences": ("int64", "Windows or sentences that were read."),
    "n_tokens": ("int64", "Tokens of them that count."),
    "seed_mean_square": (
        "double",
        "Mean over neurons and seed sentences of the squared impact per token: the scale of the group.",
    ),
    "seed_mean_square_raw?": ("double", "The same of the squared Frobenius norm."),
    "floor_raw?": (
        "float",
        "The threshold on impact_min from which on a selection is certified; null where every neuron was measured.",
    ),
    "floor_rms?": ("float", "The same on impact_rms_min."),
    "n_bounded": ("int64", "Neurons whose minima are upper bounds."),
    "mode": ("string", "full, where every neuron was measured, or certified."),
}
"""One row per language and group."""
SUMMARY_SCHEMA = arrow_schema(SUMMARY)
"""`SUMMARY` in Arrow."""
