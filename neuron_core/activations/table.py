"""ActivationTable: the activation statistics of a model in several languages, as arrays and as an Arrow table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polyneuron.neuron_core.activations.names import PERCENTILES, SITES, STATISTICS, Site
from polyneuron.neuron_core.activations.schema import ACTIVATIONS_SCHEMA
from polyneuron.neuron_core.activations.statistics import ActivationStatistics, Doubles
from polyneuron.neuron_core.common.errors import SetError

_NUMBERS = ("n_positive", "mean", "minimum", "maximum")


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivationTable(ActivationStatistics):
    """The statistics of all ffn neurons of a model: S = [D, I], D layers of I neurons."""

    model: str
    """The model that neuron sets made from this table will name."""
    site: Site
    """Where the activations were read."""
    languages: tuple[str, ...]
    """The L languages, in the order of the first axis."""

    def __repr__(self) -> str:
        shape = f"{self.n_layers} layers of {self.width} ffn neurons"
        return f"ActivationTable({self.model!r}, {self.site}, {', '.join(self.languages)}: {shape})"

    @staticmethod
    def build(
        model: str, site: Site, languages: Sequence[str], layers: Sequence[ActivationStatistics]
    ) -> ActivationTable:
        """The table of a model whose layers were measured one by one, in order."""
        statistics = {
            field.name: np.stack(
                [getattr(layer, field.name) for layer in layers], axis=0 if field.name == "pooled" else 1
            )
            for field in fields(ActivationStatistics)
            if field.name != "n_tokens"
        }
        return ActivationTable(
            model=model, site=site, languages=tuple(languages), n_tokens=layers[0].n_tokens, **statistics
        )

    @property
    def n_layers(self) -> int:
        """The number of layers, D."""
        return self.n_positive.shape[1]

    @property
    def width(self) -> int:
        """The number of ffn neurons of a layer, I."""
        return self.n_positive.shape[2]

    def rows_of(self, languages: Sequence[str] | None) -> list[int]:
        """The positions of the languages (None: all) on the first axis. Raises SetError for a language that was not
        measured, or none at all."""
        wanted = self.languages if languages is None else tuple(dict.fromkeys(languages))
        if missing := [language for language in wanted if language not in self.languages]:
            raise SetError(
                f"No activations of {', '.join(missing)}; measured languages: {', '.join(self.languages)}"
            )
        if not wanted:
            raise SetError("Detection needs at least one language")
        return [self.languages.index(language) for language in wanted]

    def statistic(self, language: str, name: str) -> Doubles:
        """One statistic of each neuron in a language, float64 [D, I]: one of `STATISTICS`. Raises SetError for a language
        or a statistic that was not measured."""
        row = self.rows_of([language])[0]
        if name not in STATISTICS:
            raise SetError(f"There is no statistic {name!r}; there are {', '.join(STATISTICS)}")
        if name == "mean":
            return self.mean[row]
        return self.percentiles[row, ..., STATISTICS.index(name) - 1].astype(np.float64)

    def to_arrow(self) -> pa.Table:
        """All statistics as rows of `ACTIVATIONS_SCHEMA`, one per language and neuron."""
        shape = n_languages, n_layers, width = self.n_positive.shape
        codes = np.repeat(np.arange(n_languages, dtype=np.int32), n_layers * width)
        pooled = np.broadcast_to(self.pooled, (n_languages, *self.pooled.shape))
        columns = {
            "language": pa.array(self.languages, pa.string()).take(pa.array(codes)),
            "site": pa.array([self.site]).take(pa.array(np.zeros(len(codes), np.int32))),
            "layer": np.broadcast_to(np.arange(n_layers, dtype=np.int32)[:, None], shape).ravel(),
            "neuron": np.broadcast_to(np.arange(width, dtype=np.int32), shape).ravel(),
            "n_tokens": self.n_tokens[codes],
            **{name: getattr(self, name).ravel() for name in _NUMBERS},
            **{f"p{q}": self.percentiles[..., at].ravel() for at, q in enumerate(PERCENTILES)},
            "above_own": _lists(self.above_own),
            "pooled": _lists(pooled),
            "above_pooled": _lists(self.above_pooled),
        }
        return pa.Table.from_pydict(columns, schema=ACTIVATIONS_SCHEMA)

    @classmethod
    def from_arrow(cls, table: pa.Table, model: str = "") -> ActivationTable:
        """Reads what `to_arrow` wrote, or rows of a store, in any order. `model`: used when the table has no column
        `model`. Raises SetError for a missing column, two models or sites, a missing or doubled neuron, or languages that
        were pooled with others."""
        if missing := [name for name in ACTIVATIONS_SCHEMA.names if name not in table.column_names]:
            raise SetError(f"The activations have no column {', '.join(missing)}")
        if not table.num_rows:
            raise SetError("The table holds no activations; measure them first")
        if "model" in table.column_names:
            model = _only(table, "model")
        site = _only(table, "site")
        if site not in SITES:
            raise SetError(f"Unknown site {site!r} of the activations; there are {', '.join(SITES)}")
        rows = table.select(ACTIVATIONS_SCHEMA.names).cast(ACTIVATIONS_SCHEMA)
        languages = tuple(pc.unique(rows["language"]).to_pylist())
        codes = pc.index_in(rows["language"], value_set=pa.array(languages)).to_numpy()
        layer, neuron = rows["layer"].to_numpy(), rows["neuron"].to_numpy()
        shape = len(languages), int(layer.max()) + 1, int(neuron.max()) + 1
        order = np.lexsort((neuron, layer, codes))
        position = np.ravel_multi_index((codes[order], layer[order], neuron[order]), shape)
        if not np.array_equal(position, np.arange(np.prod(shape))):
            raise SetError(
                f"The activations have {table.num_rows} rows where {np.prod(shape)} neurons of {len(languages)} "
                "languages were expected, once each; measure them again"
            )

        def numbers(name: str) -> Any:
            return rows[name].to_numpy()[order].reshape(shape)

        def lists(name: str) -> Any:
            flat = rows[name].combine_chunks().flatten().to_numpy()
            return flat.reshape(-1, len(PERCENTILES))[order].reshape(*shape, len(PERCENTILES))

        pooled = lists("pooled")
        if not (pooled == pooled[:1]).all():
            raise SetError(
                "These languages were pooled in different measurements, so their thresholds differ; measure them together"
            )
        return cls(
            model=model,
            site=cast(Site, site),
            languages=languages,
            n_tokens=numbers("n_tokens")[:, 0, 0],
            **{name: numbers(name) for name in _NUMBERS},
            percentiles=np.stack([numbers(f"p{q}") for q in PERCENTILES], axis=-1),
            above_own=lists("above_own"),
            pooled=pooled[0],
            above_pooled=lists("above_pooled"),
        )


def _lists(values: Any) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, len(PERCENTILES))


def _only(table: pa.Table, name: str) -> str:
    values = pc.unique(table[name].cast(pa.string())).to_pylist()
    if len(values) > 1:
        raise SetError(f"The activations are of {name} {', '.join(map(str, values))}; choose one of them")
    return str(values[0])
