"""Overlap of the sets that two methods find for a language, beside what random sets of the same sizes would share (paper B,
figures 18 and 19: LAPE and Act Prob 90p are "largely disjoint")."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import combinations

import numpy as np
import pyarrow as pa

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.sets import chance
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.schema import OVERLAP_SCHEMA, Overlap


def overlaps(methods: Mapping[str, Mapping[str, NeuronSet]], group: str = "ffn") -> list[Overlap]:
    """Compares every two methods on every language both have, over neurons of `group` alone. `methods`: method -> language
    -> set. Rows: the whole model first, then its layers. Raises SetError for sets of two models, or one that does not know
    the width of `group`."""
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
        chances.append(chance.common_of_random(n_a, n_b, a.widths[group]))
    total = np.sum(sizes, axis=0).tolist()
    rows = [(None, total, chance.summed(chances)), *zip(range(a.n_layers), sizes, chances, strict=True)]
    return [_overlap(*row, which) for row in rows]


def _overlap(
    layer: int | None, sizes: list[int], by_chance: chance.Probabilities, which: dict[str, str]
) -> Overlap:
    n_a, n_b, n_common = sizes
    low, high = chance.central_interval(by_chance)
    possible = np.arange(len(by_chance))
    empty = n_a + n_b == 0
    return Overlap(
        **which,
        layer=layer,
        n_a=n_a,
        n_b=n_b,
        n_common=n_common,
        jaccard=None if empty else n_common / (n_a + n_b - n_common),
        chance_common=float(by_chance @ possible),
        chance_low=low,
        chance_high=high,
        chance_jaccard=None if empty else float(by_chance @ (possible / (n_a + n_b - possible))),
        p_value=chance.at_least(by_chance, n_common),
    )
