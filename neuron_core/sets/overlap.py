"""Overlap of the sets that two methods find for a language, beside what random sets of the same sizes would share (paper B,
figures 18 and 19: LAPE and Act Prob 90p are "largely disjoint")."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.sets.chance import (
    Probabilities,
    at_least,
    central_interval,
    common_of_random,
    mean_count,
    summed,
)
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.schema import OVERLAP_SCHEMA


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


def overlaps(methods: Mapping[str, Mapping[str, NeuronSet]], group: str = "ffn") -> list[Overlap]:
    """Compares every two methods on every language both have, over neurons of `group` alone.

    `methods`: method -> language -> set. Rows: the whole model first, then its layers. Raises SetError for sets of two
    models, or one that does not know the width of `group`.
    """
    rows = []
    for (name_a, sets_a), (name_b, sets_b) in combinations(methods.items(), 2):
        for language in sets_a:
            if language in sets_b:
                which = {"method_a": name_a, "method_b": name_b, "language": language}
                rows += _compared(sets_a[language], sets_b[language], group, which)
    return rows


def overlap_table(rows: Iterable[Overlap]) -> pa.Table:
    """The rows as Arrow, `OVERLAP_SCHEMA`."""
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=OVERLAP_SCHEMA)


def _compared(a: NeuronSet, b: NeuronSet, group: str, which: dict[str, str]) -> list[Overlap]:
    common = a & b
    if group not in a.widths or group not in b.widths:
        raise SetError(f"The sets of {which['language']} do not know the width of group {group!r}")
    sizes, chances = [], []
    for layer in range(a.n_layers):
        n_a, n_b, n_common = (len(neurons.indices(layer, group)) for neurons in (a, b, common))
        sizes.append([n_a, n_b, n_common])
        chances.append(common_of_random(n_a, n_b, a.widths[group]))
    total = np.sum(sizes, axis=0).tolist()
    rows = [(None, total, summed(chances)), *zip(range(a.n_layers), sizes, chances, strict=True)]
    return [_overlap(*row, which) for row in rows]


def _overlap(layer: int | None, sizes: list[int], chance: Probabilities, which: dict[str, str]) -> Overlap:
    n_a, n_b, n_common = sizes
    low, high = central_interval(chance)
    possible = np.arange(len(chance))
    empty = n_a + n_b == 0
    return Overlap(
        **which,
        layer=layer,
        n_a=n_a,
        n_b=n_b,
        n_common=n_common,
        jaccard=None if empty else n_common / (n_a + n_b - n_common),
        chance_common=mean_count(chance),
        chance_low=low,
        chance_high=high,
        chance_jaccard=None if empty else float(chance @ (possible / (n_a + n_b - possible))),
        p_value=at_least(chance, n_common),
    )
