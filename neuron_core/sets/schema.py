"""The columns of the tables of sets. Imports neither torch nor scipy."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from polyneuron.neuron_core.common.columns import Columns, arrow_schema

SET: Columns = {
    "model": ("string", "The model's name."),
    "layer": ("int32", "The layer, from 0."),
    "group": ("string", "q, k, v, ffn or o."),
    "neuron": ("int32", "The neuron's index in its layer and group, from 0."),
}
"""One row per neuron."""
SET_SCHEMA = arrow_schema(SET)
"""`SET` in Arrow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """Two sets of neurons beside chance, which is two random sets that have, in each layer, the sizes of these."""

    method_a: str
    """Whose set the first is."""
    method_b: str
    """Whose set the second is."""
    language: str
    """The language of both."""
    layer: int | None
    """None for the whole model."""
    n_a: int
    """Neurons of the first set."""
    n_b: int
    """Neurons of the second set."""
    n_common: int
    """Neurons in both."""
    jaccard: float | None
    """n_common over the size of the union; None where both are empty."""
    chance_common: float
    """Expected n_common by chance."""
    chance_low: int
    """Lower end of the central 95% interval of n_common by chance."""
    chance_high: int
    """Upper end of that interval."""
    chance_jaccard: float | None
    """Expected Jaccard by chance; None where both sets are empty."""
    p_value: float
    """Probability of n_common or more by chance."""


_KINDS = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}
OVERLAP_SCHEMA = pa.schema(
    (name, pa.int32() if name == "layer" else _KINDS[kind.removesuffix(" | None")])
    for name, kind in Overlap.__annotations__.items()
)
"""One row per pair of methods and language for the whole model (layer null) and for each layer."""
