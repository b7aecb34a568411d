"""The columns of what neighbouring rules would have selected, and of the noise floor. Imports no torch."""

from polyneuron.neuron_core.common.columns import Columns, arrow_schema

SENSITIVITY: Columns = {
    "neighbour": (
        "string",
        "The setting and its factor, such as sigma x0.5; this study for the rule itself.",
    ),
    "sigma?": ("double", "The neighbour's setting, whichever the rule has: sigma, fraction or ratio."),
    "language?": ("string", "The language of the related and exclusive sets."),
    "n_related?": ("int64", "Neurons related to the language."),
    "n_shared?": ("int64", "Neurons shared by all languages."),
    "n_exclusive?": ("int64", "Neurons related to the language and not shared."),
    "shared_ratio?": (
        "double",
        "Eq. 4: shared neurons over the mean number of the languages' exclusive ones.",
    ),
    "jaccard_related?": ("double", "Likeness of the related set to that of the rule itself."),
    "jaccard_shared?": ("double", "Likeness of the shared set to that of the rule itself."),
    "null_reason?": ("string", "Why numbers are null."),
}
"""One row per neighbour and language."""
SENSITIVITY_SCHEMA = arrow_schema(SENSITIVITY)
"""`SENSITIVITY` in Arrow."""

NOISE_FLOOR: Columns = {
    "kind": ("string", "shared, exclusive or strict_exclusive."),
    "language?": (
        "string",
        "The language of the set; null for the shared set, and for the mean over the languages' sets.",
    ),
    "n_neurons": ("double", "Neurons that the rule selects; a mean, where it is one over languages."),
    "n_halvings?": ("int64", "How often the sentences were halved."),
    "n_permutations?": ("int64", "How often languages were permuted over the sentences."),
    "half_size?": ("double", "Size of the set of one half of the sentences, mean over the halves."),
    "jaccard?": ("double", "Likeness of the sets of two halves, mean over the halvings."),
    "jaccard_low?": ("double", "Lower end of the central 95% of the halvings."),
    "jaccard_high?": ("double", "Upper end of it."),
    "jaccard_chance?": ("double", "Likeness of random sets as large as those of the halves."),
    "chance_size?": (
        "double",
        "Size under permuted languages, mean; of the shared set, what random sets as large as the related ones would share.",
    ),
    "chance_low?": ("double", "Lower end of the central 95% of sizes by chance."),
    "chance_high?": ("double", "Upper end of it."),
    "p_value?": ("double", "How likely chance gives n_neurons or more."),
    "null_reason?": ("string", "Why numbers are null."),
}
"""One row per set of a selection."""
NOISE_FLOOR_SCHEMA = arrow_schema(NOISE_FLOOR)
"""`NOISE_FLOOR` in Arrow."""
