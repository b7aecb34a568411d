"""The grid of a rule over the impacts on single sentences, under any labelling of the sentences by languages.

Shapes: L languages, S sentences, N measured neurons.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.impacts.per_sentence import SentenceImpacts
from polyneuron.neuron_core.passes.limits import N_SEED_SENTENCES
from polyneuron.neuron_core.selection.grid import Floats, Mask, RuleGrid

Labels = npt.NDArray[np.int64]
_SQUARES = {"seed_mean_square_raw": 0, "seed_mean_square": 1}


class SentenceGrid(RuleGrid):
    """What full detection would have stored, had the sentences of each language been those that `labels` give it."""

    def __init__(self, impacts: SentenceImpacts, labels: Labels | None = None) -> None:
        """`labels`: int64 [S], the place of a language among the languages of the impacts, -1 for a sentence that is left out;
        None: the languages as they are. Raises SetError when a language is left without a sentence."""
        self.model, self.languages = "", impacts.languages
        self.widths, self.n_layers = impacts.widths, impacts.n_layers
        labels = impacts.labels if labels is None else labels
        self._impacts = impacts
        self._rows = {language: np.flatnonzero(labels == at) for at, language in enumerate(self.languages)}
        if empty := [language for language, rows in self._rows.items() if not len(rows)]:
            raise SetError(f"No sentence is left for {', '.join(empty)}")

    @property
    def bounded(self) -> Mask:
        """Bool [L, N], false everywhere."""
        return np.zeros((len(self.languages), self.n_neurons), bool)

    def floats(self, column: str) -> Floats:
        """Of `impact_min`, `impact_rms_min` and `rank_worst`, float32 [L, N]. Raises KeyError for another column."""
        reduced = {
            "impact_min": lambda rows: _smallest(self._raw(rows)),
            "impact_rms_min": lambda rows: _smallest(self._per_token(rows)),
            "rank_worst": lambda rows: self._impacts.rank_fractions[rows].max(axis=0),
        }[column]
        return np.stack([reduced(rows) for rows in self._rows.values()])

    def nth_smallest(self, language: str, n: int) -> Floats:
        """As `RuleGrid.nth_smallest`; all values are there."""
        rows = self._rows[language]
        if n > len(rows):
            raise SetError(f"{language} has {len(rows)} sentences, but number {n} was asked for")
        return _smallest(self._per_token(rows), n)

    def number(self, language: str, group: str, column: str) -> float | None:
        """`n_sentences`, and the mean squares over the seed: the language's shortest sentences. None for another column."""
        rows = self._rows[language]
        if column == "n_sentences":
            return float(len(rows))
        if column not in _SQUARES:
            return None
        seed = rows[np.argsort(self._impacts.lengths[rows], kind="stable")][:N_SEED_SENTENCES]
        total = self._impacts.squares[group][_SQUARES[column], seed].sum()
        return float(total) / (len(seed) * self.widths[group] * self.n_layers)

    def _raw(self, rows: Labels) -> Iterator[Floats]:
        for row in rows:
            yield self._impacts.values[row]

    def _per_token(self, rows: Labels) -> Iterator[Floats]:
        one: Floats = np.empty(self.n_neurons, np.float32)
        for row in rows:
            yield np.divide(self._impacts.values[row], self._impacts.root_lengths[row], out=one)


def _smallest(rows: Iterator[Floats], n: int = 1) -> Floats:
    """The n-th smallest of each column. Row by row, since what is at work stays in the processor's cache."""
    kept: list[Floats] = []
    for row in rows:
        larger = row
        for at, value in enumerate(kept):
            if at + 1 < n:
                moved = np.maximum(value, larger)
                np.minimum(value, larger, out=value)
                larger = moved
            else:
                np.minimum(value, larger, out=value)
        if len(kept) < n:
            kept.append(larger.copy())
    return kept[-1]
