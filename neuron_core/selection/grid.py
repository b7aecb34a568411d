"""The impacts of several languages side by side: each measured neuron has one position, the same in every language.

Shapes: L languages, N measured neurons of the model. Positions run by group, then layer, then neuron. Built once from the
Arrow columns; nothing here loops over neurons.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.sets.neuron_set import NeuronSet

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
LanguageGroup = tuple[str, str]
"""(language, group)."""


class RuleGrid(ABC):
    """What a rule may ask of impacts, however they are kept."""

    model: str
    """The model's name, empty where it is not known."""
    languages: tuple[str, ...]
    """The languages that are compared."""
    widths: Mapping[str, int]
    """Neurons per layer of each measured group, in the order of the positions."""
    n_layers: int
    """Layers of the model."""

    @property
    def n_neurons(self) -> int:
        """N, the number of measured neurons of the model."""
        return self.n_layers * sum(self.widths.values())

    @property
    def cells(self) -> list[LanguageGroup]:
        """Every (language, group), by language and then in the order of `GROUPS`."""
        return [(language, group) for language in self.languages for group in self.widths]

    @cached_property
    def spans(self) -> dict[str, slice]:
        """Where each group lies among the positions."""
        spans, start = {}, 0
        for group, width in self.widths.items():
            spans[group] = slice(start, start + width * self.n_layers)
            start = spans[group].stop
        return spans

    @property
    @abstractmethod
    def bounded(self) -> Mask:
        """Bool [L, N], true where the neuron's minima are upper bounds only."""

    @abstractmethod
    def floats(self, column: str) -> Floats:
        """A float column of `IMPACTS_SCHEMA` as float32 [L, N]; NaN where it is null."""

    @abstractmethod
    def nth_smallest(self, language: str, n: int) -> Floats:
        """The n-th smallest (from 1) per-token impact over the sentences of a language, float32 [N]; NaN where unknown.
        Raises SetError when fewer values than n are there."""

    @abstractmethod
    def number(self, language: str, group: str, column: str) -> float | None:
        """A number of `SUMMARY_SCHEMA` for (language, group), or None where it is null or not there."""

    def to_set(self, mask: Mask) -> NeuronSet:
        """The neurons at the True positions of a bool [N]."""
        members = {}
        for group, span in self.spans.items():
            for layer, inside in enumerate(mask[span].reshape(self.n_layers, self.widths[group])):
                members[layer, group] = np.flatnonzero(inside).astype(np.int64)
        return NeuronSet(self.model, self.widths, self.n_layers, members)


class ImpactGrid(RuleGrid):
    """Impacts of `languages` over the same N neurons; `widths` holds the neurons per layer of each measured group."""

    def __init__(
        self, impacts: pa.Table, summaries: pa.Table, languages: Sequence[str] | None = None, model: str = ""
    ) -> None:
        """Lays out the tables of an `ImpactTable` (or of the store). `languages`: those to compare; None takes all, in the
        order of the summaries. `model`: used when the table has no column `model`. Raises SetError when a language is
        missing, its neurons are incomplete or doubled, or the tables hold two models."""
        self._summaries = {(row["language"], row["group"]): row for row in summaries.to_pylist()}
        known = list(dict.fromkeys(language for language, _ in self._summaries))
        self.languages = tuple(dict.fromkeys(known if languages is None else languages))
        if missing := [language for language in self.languages if language not in known]:
            raise SetError(
                f"No impacts of {', '.join(missing)}; detected languages: {', '.join(known) or 'none'}"
            )
        if not self.languages:
            raise SetError("A selection needs at least one language")
        if "model" in impacts.column_names and impacts.num_rows:
            names = pc.unique(impacts["model"]).to_pylist()
            if len(names) > 1 or (model and names[0] != model):
                raise SetError(f"The impacts are of {', '.join(map(str, names))}; select one model at a time")
            model = names[0]
        self.model, self._impacts = model, impacts
        self._rows, self.widths, self.n_layers = self._laid_out()
        if lacking := [", ".join(cell) for cell in self.cells if cell not in self._summaries]:
            raise SetError(f"No summary of {'; '.join(lacking)}: give the summaries of the same detection")

    def _laid_out(self) -> tuple[npt.NDArray[np.int64], dict[str, int], int]:
        """int64 [L, N], the row of the impacts of each neuron; the widths of the groups, and the number of layers."""
        impacts = self._impacts
        language_of, group_of = _codes(impacts["language"], self.languages), _codes(impacts["group"], GROUPS)
        layer_of, neuron_of = impacts["layer"].to_numpy(), impacts["neuron"].to_numpy()
        used = language_of >= 0
        if (group_of[used] < 0).any():
            raise SetError(f"The impacts hold a group that does not exist; there are {', '.join(GROUPS)}")
        n_layers = int(layer_of[used].max(initial=-1)) + 1
        widths: dict[str, int] = {}
        starts, width_of, n_total = np.zeros(len(GROUPS), np.int64), np.zeros(len(GROUPS), np.int64), 0
        for code, group in enumerate(GROUPS):
            if len(neurons := neuron_of[used & (group_of == code)]):
                widths[group] = int(neurons.max()) + 1
                starts[code], width_of[code] = n_total, widths[group]
                n_total += widths[group] * n_layers
        rows = np.full((len(self.languages), n_total), -1, np.int64)
        for at, language in enumerate(self.languages):
            own = np.flatnonzero(language_of == at)
            rows[at, starts[group_of[own]] + layer_of[own] * width_of[group_of[own]] + neuron_of[own]] = own
            if len(own) != n_total or (rows[at] < 0).any():
                raise SetError(
                    f"The impacts of {language} have {len(own)} rows where {n_total} neurons were expected, "
                    "once each; its detection is incomplete or was stored twice. Detect that language again"
                )
        return rows, widths, n_layers

    def floats(self, column: str) -> Floats:
        """A float column as float32 [L, N]; NaN where it is null."""
        values: Floats = self._impacts[column].to_numpy().astype(np.float32, copy=False)
        return values[self._rows]

    @cached_property
    def bounded(self) -> Mask:
        """Bool [L, N], true where the neuron's minima are upper bounds only."""
        flags: Mask = self._impacts["bounded"].to_numpy().astype(bool)
        return flags[self._rows]

    def nth_smallest(self, language: str, n: int) -> Floats:
        """As `RuleGrid.nth_smallest`, of the few values that are stored."""
        rows = pa.array(self._rows[self.languages.index(language)])
        lists = self._impacts["impact_smallest"].take(rows).combine_chunks()
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
        if len(lengths) and n > (stored := int(lengths.max())) > 0:
            raise SetError(
                f"Only the {stored} smallest impacts of each neuron are stored, but number {n} was asked for"
            )
        known = lengths >= n
        starts = np.cumsum(lengths) - lengths
        values = np.full(len(lengths), np.nan, np.float32)
        values[known] = lists.flatten().to_numpy()[starts[known] + n - 1]
        return values

    def number(self, language: str, group: str, column: str) -> float | None:
        """A number of the summary of (language, group), or None where it is null or not stored."""
        value = self._summaries[language, group].get(column)
        return None if value is None else float(value)

    def pooled(self) -> dict[tuple[int, str], Floats]:
        """The impact of each neuron on the text of all languages: the root mean square, over languages, of its impact on their
        seed sentences. By (layer, group), float32 [width]."""
        pooled_N = np.sqrt(np.square(self.floats("impact_seed").astype(np.float64)).mean(axis=0))
        return {
            (layer, group): values.astype(np.float32)
            for group, span in self.spans.items()
            for layer, values in enumerate(pooled_N[span].reshape(self.n_layers, self.widths[group]))
        }


def _codes(column: pa.ChunkedArray, values: Sequence[str]) -> npt.NDArray[np.int32]:
    """Position of each value in `values`, -1 where it is none of them."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    codes: npt.NDArray[np.int32] = pc.fill_null(
        pc.index_in(column, value_set=pa.array(values, pa.string())), -1
    ).to_numpy()
    return codes
