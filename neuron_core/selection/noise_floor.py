"""The noise floor of a selection: how large its sets are by chance, and how much they depend on the sentences drawn.

Two experiments on the impacts of single sentences, with the rule as it is. Split halves: two halves of every language's sentences
select sets of their own; how alike are they? Permuted languages: all sentences are dealt to the languages at random, as many to
each as it has; how large are the sets of languages that do not exist?

The shared set asks every sentence to pass, whosever it is, so permuted languages say nothing about it; its chance is what random
sets as large as the related ones share. Shapes: L languages, S sentences, N neurons, K = 1 + 2 L sets.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import nn

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.impacts.per_sentence import (
    Measured,
    SentenceImpacts,
    sentence_impacts,
    sentence_pass,
)
from polyneuron.neuron_core.model.groups import DEFAULT_GROUPS, require_groups
from polyneuron.neuron_core.passes.batches import MicroBatch, as_corpora
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from polyneuron.neuron_core.passes.lengths import warn_of_unequal_reading
from polyneuron.neuron_core.passes.live_model import measured
from polyneuron.neuron_core.selection.grid import Mask
from polyneuron.neuron_core.selection.rules import Rule, ScaledSigma
from polyneuron.neuron_core.selection.schema import NOISE_FLOOR_SCHEMA
from polyneuron.neuron_core.selection.select import split
from polyneuron.neuron_core.selection.sentence_grid import Labels, SentenceGrid
from polyneuron.neuron_core.sets import chance

N_HALVINGS, N_PERMUTATIONS = 50, 200
FEWEST_SENTENCES = 4
"""Of a language, below which no half says anything."""
Reals = npt.NDArray[np.float64]


@torch.no_grad()
def noise_floor(
    model: nn.Module,
    tokenizer: Any,
    corpora: Mapping[str, Sequence[Any]],
    rule: Rule | None = None,
    groups: Sequence[str] = DEFAULT_GROUPS,
    *,
    batch_size: int = 8,
    max_tokens: int | None = None,
    n_halvings: int = N_HALVINGS,
    n_permutations: int = N_PERMUTATIONS,
    seed: int = 0,
) -> pa.Table:
    """Measures every neuron on every sentence, in this process, and asks how large the sets of `rule` (default
    `ScaledSigma()`) are by chance and how stable, `NOISE_FLOOR_SCHEMA`. `corpora`, `groups`: as `measure_impacts`, and raises
    as it does. Holds 4 bytes for each neuron and sentence."""

    def run_pass(batches: list[MicroBatch]) -> list[Measured]:
        return [sentence_pass(runner, batches, groups)]

    require_groups(groups)
    sentences = as_corpora(tokenizer, corpora, max_tokens)
    warn_of_unequal_reading(sentences, stacklevel=3)  # the caller's line: one frame is no_grad's
    with measured(model):
        runner = LayerMajor(model)
        impacts = sentence_impacts(run_pass, sentences, batch_size)
    return noise_floor_of(impacts, rule, n_halvings=n_halvings, n_permutations=n_permutations, seed=seed)


def noise_floor_of(
    impacts: SentenceImpacts,
    rule: Rule | None = None,
    *,
    n_halvings: int = N_HALVINGS,
    n_permutations: int = N_PERMUTATIONS,
    seed: int = 0,
) -> pa.Table:
    """The noise floor from impacts that are measured, `NOISE_FLOOR_SCHEMA`. A language with fewer than `FEWEST_SENTENCES`, and a
    rule that cannot be asked of half of the sentences, give nulls and the reason. Raises SetError when the rule cannot be
    answered from all sentences."""
    rule = rule or ScaledSigma()
    related = _related(impacts, rule, impacts.labels)
    own = _Sets(impacts, related)
    try:
        _require_enough(impacts)
        draws = _halvings(impacts, seed, n_halvings), _permutations(impacts, seed, n_permutations)
        halves = [_alike(impacts, rule, pair) for pair in draws[0]]
        sizes = np.array([_Sets(impacts, _related(impacts, rule, labels)).sizes for labels in draws[1]])
    except SetError as error:
        return _table(impacts, [{"n_neurons": size, "null_reason": error.message} for size in own.sizes])
    half_sizes, jaccards, by_chance = (np.array(part) for part in zip(*halves, strict=True))
    rows = []
    for at, size in enumerate(own.sizes):
        known = jaccards[:, at][~np.isnan(jaccards[:, at])]
        rows.append({
            "n_neurons": size,
            "n_halvings": n_halvings,
            "n_permutations": n_permutations,
            "half_size": half_sizes[:, at].mean(),
            **_spread(("jaccard", "jaccard_low", "jaccard_high"), known),
            "jaccard_chance": float(np.nanmean(by_chance[:, at])) if len(known) else None,
            **_spread(("chance_size", "chance_low", "chance_high"), sizes[:, at]),
            "p_value": (1 + int((sizes[:, at] >= size).sum())) / (1 + n_permutations),
        })  # fmt: skip
    rows[0] |= _of_random_sets(impacts, rule, related, own.sizes[0])
    return _table(impacts, rows)


def _related(impacts: SentenceImpacts, rule: Rule, labels: Labels) -> Mask:
    """bool [L, N]: what the rule selects when these are the languages of the sentences."""
    return rule.passing(SentenceGrid(impacts, labels)).passes


class _Sets:
    """The sets that related neurons make: bool [K, N], shared first, then exclusive and strictly exclusive by language."""

    def __init__(self, impacts: SentenceImpacts, related: Mask) -> None:
        shared, exclusive, strict = split(related)
        self.masks: Mask = np.concatenate([shared[None], exclusive, strict])
        self.sizes = _with_means(self.masks.sum(axis=1).astype(np.float64))
        self._blocks = impacts.blocks

    def in_blocks(self) -> Reals:
        """float64 [K, blocks], how many neurons of each layer and group each set has."""
        return np.add.reduceat(self.masks, self._blocks[:-1], axis=1, dtype=np.float64)


def _with_means(values: Reals) -> Reals:
    """[K + 2]: before each language's exclusive (strictly exclusive) value, the mean of those that are known."""
    exclusive, strict = np.split(values[1:], 2)
    return np.concatenate([values[:1], [_mean(exclusive)], exclusive, [_mean(strict)], strict])


def _mean(values: Reals) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _alike(impacts: SentenceImpacts, rule: Rule, halves: tuple[Labels, Labels]) -> tuple[Reals, Reals, Reals]:
    """Of the sets of two halves, [K + 2] each: the mean size, the Jaccard likeness, and about that of random sets of the same
    sizes in each layer and group (its expected parts divided). NaN for two empty sets."""
    a, b = (_Sets(impacts, _related(impacts, rule, labels)) for labels in halves)
    common = (a.masks & b.masks).sum(axis=1).astype(np.float64)
    together = a.masks.sum(axis=1) + b.masks.sum(axis=1)
    by_chance = (a.in_blocks() * b.in_blocks() / np.diff(impacts.blocks)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        likeness = [shared / (together - shared) for shared in (common, by_chance)]
    return (a.sizes + b.sizes) / 2, _with_means(likeness[0]), _with_means(likeness[1])


def _halvings(impacts: SentenceImpacts, seed: int, n: int) -> Iterator[tuple[Labels, Labels]]:
    """Labels of two halves, equally large in each language; of an odd number, another sentence is left out each time."""
    rng = np.random.default_rng([seed, 0])
    for _ in range(n):
        halves = np.full((2, len(impacts.labels)), -1, np.int64)
        for at in range(len(impacts.languages)):
            rows = rng.permutation(np.flatnonzero(impacts.labels == at))
            middle = len(rows) // 2
            halves[0, rows[:middle]] = halves[1, rows[middle : 2 * middle]] = at
        yield halves[0], halves[1]


def _permutations(impacts: SentenceImpacts, seed: int, n: int) -> Iterator[Labels]:
    rng = np.random.default_rng([seed, 1])
    return (rng.permutation(impacts.labels) for _ in range(n))


def _require_enough(impacts: SentenceImpacts) -> None:
    counts = np.bincount(impacts.labels).tolist()
    few = [name for name, n in zip(impacts.languages, counts, strict=True) if n < FEWEST_SENTENCES]
    if few:
        raise SetError(f"Fewer than {FEWEST_SENTENCES} sentences of {', '.join(few)}, too few to halve")


def _of_random_sets(impacts: SentenceImpacts, rule: Rule, related: Mask, n_shared: float) -> dict[str, Any]:
    """What random sets as large as the related ones in every layer and group would share; how large the shared set is has no
    p-value where the rule chose it."""
    sizes = np.add.reduceat(related, impacts.blocks[:-1], axis=1, dtype=np.int64)
    of_blocks = zip(sizes.T.tolist(), np.diff(impacts.blocks).tolist(), strict=True)
    total = chance.summed(chance.common_to_all_random(block, width) for block, width in of_blocks)
    low, high = chance.central_interval(total)
    chosen = isinstance(rule, ScaledSigma) and rule.sigma is None
    return {
        "n_permutations": None,
        "chance_size": float(total @ np.arange(len(total))),
        "chance_low": float(low),
        "chance_high": float(high),
        "p_value": None if chosen else max(chance.NEGLIGIBLE, chance.at_least(total, int(n_shared))),
        "null_reason": "the rule chose this size, so it is no finding and has no p-value" if chosen else None,
    }


def _spread(names: tuple[str, str, str], values: Reals) -> dict[str, float | None]:
    """Mean and central 95% of draws."""
    if not len(values):
        return dict.fromkeys(names)
    low, high = np.quantile(values, [0.025, 0.975])
    return dict(zip(names, (float(values.mean()), float(low), float(high)), strict=True))


def _table(impacts: SentenceImpacts, rows: Sequence[dict[str, Any]]) -> pa.Table:
    kinds = ("exclusive", "strict_exclusive")
    names = [("shared", None), *((kind, code) for kind in kinds for code in (None, *impacts.languages))]
    named = [{"kind": kind, "language": code} | row for (kind, code), row in zip(names, rows, strict=True)]
    return pa.Table.from_pylist(named, schema=NOISE_FLOOR_SCHEMA)
