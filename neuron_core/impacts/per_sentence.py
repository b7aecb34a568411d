"""The impact of every neuron on every single sentence, measured in full. Any labelling of the sentences by languages can be
asked about them afterwards without the model.

`sentence_pass` is what one worker does; `sentence_impacts` puts the languages together. Shapes: S sentences of all languages,
N measured neurons of the model; positions run by group, then layer, then neuron.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.impacts.accumulate import Impacts
from polyneuron.neuron_core.impacts.detect import (
    Accumulated,
    Progress,
    finite,
    measure_layers,
    seed_and_rest,
)
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.passes.batches import MicroBatch, Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor

Floats = npt.NDArray[np.float32]
Measured = tuple[list[Sentence], dict[tuple[int, str], Floats]]
"""The sentences of one worker, and per (layer, group) their impacts, float32 [sentences, neurons]."""


class SentenceImpacts:
    """Impacts of all neurons on the sentences of all languages, which stand by language and then by index."""

    def __init__(
        self, sentences: Sequence[Sentence], widths: Mapping[str, int], n_layers: int, values: Floats
    ) -> None:
        """`widths`: neurons per layer of each group, in the order of the positions. `values`: float32 [S, N], Frobenius norms."""
        self.languages = tuple(dict.fromkeys(sentence.language for sentence in sentences))
        self.labels = np.array([self.languages.index(sentence.language) for sentence in sentences], np.int64)
        """int64 [S], the place of each sentence's language among `languages`."""
        self.lengths = np.array([len(sentence.token_ids) for sentence in sentences], np.int64)
        """int64 [S], tokens of each sentence, unscored ones included."""
        self.root_lengths = np.sqrt(np.array([s.n_scored for s in sentences], np.float32))
        """float32 [S], the root of the scored tokens of each sentence, by which an impact is divided to be per token."""
        self.widths, self.n_layers, self.values = dict(widths), n_layers, values

    @cached_property
    def blocks(self) -> npt.NDArray[np.int64]:
        """int64 [blocks + 1], where each (group, layer) begins among the positions, and where the last one ends."""
        sizes = [width for width in self.widths.values() for _ in range(self.n_layers)]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    @cached_property
    def rank_fractions(self) -> Floats:
        """float32 [S, N], the rank of each impact (from 1, largest first) in its layer and group over their neurons."""
        ranks = np.empty_like(self.values)
        for start, end in zip(self.blocks[:-1], self.blocks[1:], strict=True):
            order = np.argsort(-self.values[:, start:end], axis=1)
            fractions = (np.arange(1, end - start + 1) / (end - start)).astype(np.float32)
            np.put_along_axis(ranks[:, start:end], order, fractions[None], axis=1)
        return ranks

    @cached_property
    def squares(self) -> dict[str, npt.NDArray[np.float64]]:
        """By group, float64 [2, S]: the sums over its neurons of the squared impacts, and of the squared per-token impacts."""
        sums: dict[str, npt.NDArray[np.float64]] = {}
        start = 0
        for group, width in self.widths.items():
            span = slice(start, start := start + width * self.n_layers)
            of_group = np.empty((2, len(self.values)))
            for at, row in enumerate(self.values[:, span]):
                of_group[0, at] = np.square(row, dtype=np.float64).sum()
                of_group[1, at] = np.square(row / self.root_lengths[at], dtype=np.float64).sum()
            sums[group] = of_group
        return sums


def sentence_pass(
    runner: LayerMajor, batches: Sequence[MicroBatch], groups: Sequence[str], progress: Progress | None = None
) -> Measured:
    """Impacts of every neuron on each sentence of one worker's micro-batches. Raises ModelError as `detection_pass`."""
    measured: dict[tuple[int, str], Floats] = {}
    measure_layers(runner, batches, groups, lambda layer: _KeptImpacts(measured, layer), progress=progress)
    return [sentence for batch in batches for sentence in batch.sentences], measured


class _KeptImpacts:
    """Keeps the impacts of one layer as they are."""

    def __init__(self, measured: dict[tuple[int, str], Floats], layer: int) -> None:
        self._measured, self._layer = measured, layer
        self._parts: dict[str, list[Tensor]] = {}

    def add(self, impacts: Mapping[str, Tensor], batch: MicroBatch) -> None:
        """Impacts [B, N] of one micro-batch."""
        for group, values in impacts.items():
            self._parts.setdefault(group, []).append(values.float().cpu())

    def flush(self) -> None:
        """Raises ModelError when an impact is not finite."""
        for group, parts in self._parts.items():
            self._measured[self._layer, group] = finite(torch.cat(parts), self._layer, group).numpy()


def accumulated(measured: Measured) -> Accumulated:
    """What `detection_pass` finds, in full, where one worker measured this."""
    sentences, values = measured
    n_scored = torch.tensor([sentence.n_scored for sentence in sentences])
    return {
        key: Impacts.of(torch.from_numpy(of_key), n_scored, complete=True) for key, of_key in values.items()
    }


def sentence_impacts(
    run_pass: Callable[[list[MicroBatch]], Sequence[Measured]],
    corpora: Mapping[str, Sequence[Sentence]],
    batch_size: int = 8,
) -> SentenceImpacts:
    """Measures the sentences of each language in the micro-batches of full detection, one pass a language. `run_pass` gives
    what each worker measured. Sentences without two tokens, one of them to score, are left out. Raises CorpusError when none
    of a language remains."""
    used: list[Sentence] = []
    by_language: list[Sequence[Measured]] = []
    for language, sentences in corpora.items():
        seed, rest = seed_and_rest(sentences)
        if not seed:
            raise CorpusError(f"No sentence of {language!r} has two tokens, one of them to score")
        used += sorted([*seed, *rest], key=lambda sentence: sentence.index)
        by_language.append(run_pass(micro_batches(seed, batch_size) + micro_batches(rest, batch_size)))
    some = next(values for _, values in by_language[0] if values)
    n_layers = 1 + max(layer for layer, _ in some)
    widths = {group: some[0, group].shape[1] for group in GROUPS if (0, group) in some}
    row_of = {(sentence.language, sentence.index): row for row, sentence in enumerate(used)}
    impacts = SentenceImpacts(
        used, widths, n_layers, np.empty((len(used), n_layers * sum(widths.values())), np.float32)
    )
    keys = [(layer, group) for group in widths for layer in range(n_layers)]
    while by_language:  # what was laid out is let go
        for sentences, values in by_language.pop():
            rows = [row_of[sentence.language, sentence.index] for sentence in sentences]
            for key, start, end in zip(keys, impacts.blocks[:-1], impacts.blocks[1:], strict=True):
                if rows:
                    impacts.values[rows, start:end] = values[key]
    return impacts
