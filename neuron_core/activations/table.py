"""ActivationTable: the activation statistics of a model in several languages, as arrays and as an Arrow table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polyneuron.neuron_core.activations.names import PERCENTILES, SITES, STATISTICS, Site
from polyneuron.neuron_core.activations.schema import ACTIVATIONS_SCHEMA
from polyneuron.neuron_core.activations.statistics import Doubles, Floats, Ints, LayerStatistics
from polyneuron.neuron_core.common.errors import SetError

_COLUMNS = {"n_positive": np.int64, "mean": np.float64, "minimum": np.float32, "maximum": np.float32}
_LISTS = {"above_own": np.int64, "pooled": np.float32, "above_pooled": np.int64}


@dataclass(frozen=True)
class ActivationTable:
    """Statistics of all ffn neurons. Shapes: L languages, D layers, I neurons a layer, P = len(PERCENTILES).

    n_tokens [L]; n_positive, mean, minimum, maximum [L, D, I]; percentiles, above_own, above_pooled
    [L, D, I, P]; pooled [D, I, P]. What each is and its dtype: `LayerStatistics`.
    """

    model: str
    site: Site
    languages: tuple[str, ...]
    n_tokens: Ints
    n_positive: Ints
    mean: Doubles
    minimum: Floats
    maximum: Floats
    percentiles: Floats
    above_own: Ints
    pooled: Floats
    above_pooled: Ints

    @staticmethod
    def build(
        model: str, site: Site, languages: Sequence[str], layers: Sequence[LayerStatistics]
    ) -> ActivationTable:
        """Puts the layers of a model together, in order."""

        def stacked(name: str, axis: int = 1) -> Any:
            return np.stack([getattr(layer, name) for layer in layers], axis)

        return ActivationTable(
            model=model,
            site=site,
            languages=tuple(languages),
            n_tokens=layers[0].n_tokens,
            n_positive=stacked("n_positive"),
            mean=stacked("mean"),
            minimum=stacked("minimum"),
            maximum=stacked("maximum"),
            percentiles=stacked("percentiles"),
            above_own=stacked("above_own"),
            pooled=stacked("pooled", axis=0),
            above_pooled=stacked("above_pooled"),
        )

    @property
    def n_layers(self) -> int:
        """D."""
        return self.n_positive.shape[1]

    @property
    def width(self) -> int:
        """I."""
        return self.n_positive.shape[2]

    def rows_of(self, languages: Sequence[str] | None) -> list[int]:
        """Where the languages (None: all) stand on the first axis.

        Raises:
            SetError: a language that was not measured, or none at all.
        """
        wanted = self.languages if languages is None else tuple(dict.fromkeys(languages))
        if missing := [language for language in wanted if language not in self.languages]:
            raise SetError(
                f"No activations of {', '.join(missing)}; measured languages: {', '.join(self.languages)}"
            )
        if not wanted:
            raise SetError("Detection needs at least one language")
        return [self.languages.index(language) for language in wanted]

    def statistic(self, language: str, name: str) -> Doubles:
        """One number per neuron in a language, float64 [D, I]: "mean", or a percentile, "p5" to "p95".

        Raises:
            SetError: a language or a statistic that was not measured.
        """
        row = self.rows_of([language])[0]
        if name not in STATISTICS:
            raise SetError(f"There is no statistic {name!r}; there are {', '.join(STATISTICS)}")
        if name == "mean":
            return self.mean[row]
        found: Doubles = self.percentiles[row, ..., STATISTICS.index(name) - 1].astype(np.float64)
        return found

    def to_arrow(self) -> pa.Table:
        """One row per language and neuron, `ACTIVATIONS_SCHEMA`."""
        shape = n_languages, n_layers, width = self.n_positive.shape
        codes = np.repeat(np.arange(n_languages, dtype=np.int32), n_layers * width)
        pooled = np.broadcast_to(self.pooled, (n_languages, *self.pooled.shape))
        columns = {
            "language": pa.array(self.languages, pa.string()).take(pa.array(codes)),
            "site": pa.array([self.site]).take(pa.array(np.zeros(len(codes), np.int32))),
            "layer": np.broadcast_to(np.arange(n_layers, dtype=np.int32)[:, None], shape).ravel(),
            "neuron": np.broadcast_to(np.arange(width, dtype=np.int32), shape).ravel(),
            "n_tokens": self.n_tokens[codes],
            **{name: getattr(self, name).ravel() for name in _COLUMNS},
            **{f"p{q}": self.percentiles[..., at].ravel() for at, q in enumerate(PERCENTILES)},
            "above_own": _lists(self.above_own),
            "pooled": _lists(pooled),
            "above_pooled": _lists(self.above_pooled),
        }
        return pa.Table.from_pydict(columns, schema=ACTIVATIONS_SCHEMA)

    @classmethod
    def from_arrow(cls, table: pa.Table, model: str = "") -> ActivationTable:
        """Reads what `to_arrow` wrote, or rows of a store, in any order.

        `model`: used when the table has no column `model`.

        Raises:
            SetError: a column is missing, two models or sites, a neuron missing or doubled, or languages that were
                pooled with others.
        """
        if missing := [name for name in ACTIVATIONS_SCHEMA.names if name not in table.column_names]:
            raise SetError(f"The activations have no column {', '.join(missing)}")
        if not table.num_rows:
            raise SetError("The table holds no activations; measure them first")
        if "model" in table.column_names:
            model = _only(table, "model")
        site = _only(table, "site")
        if site not in SITES:
            raise SetError(f"Unknown site {site!r} of the activations; there are {', '.join(SITES)}")
        languages = tuple(pc.unique(table["language"].cast(pa.string())).to_pylist())
        codes = pc.index_in(table["language"].cast(pa.string()), value_set=pa.array(languages)).to_numpy()
        layer, neuron = table["layer"].to_numpy(), table["neuron"].to_numpy()
        shape = len(languages), int(layer.max()) + 1, int(neuron.max()) + 1
        order = np.lexsort((neuron, layer, codes))
        position = np.ravel_multi_index((codes[order], layer[order], neuron[order]), shape)
        if not np.array_equal(position, np.arange(np.prod(shape))):
            raise SetError(
                f"The activations have {table.num_rows} rows where {np.prod(shape)} neurons of {len(languages)} "
                "languages were expected, once each; measure them again"
            )

        def column(name: str, dtype: Any) -> Any:
            return table[name].to_numpy().astype(dtype, copy=False)[order].reshape(shape)

        def lists(name: str, dtype: Any) -> Any:
            flat = table[name].combine_chunks().flatten().to_numpy().astype(dtype, copy=False)
            return flat.reshape(-1, len(PERCENTILES))[order].reshape(*shape, len(PERCENTILES))

        found = {name: column(name, dtype) for name, dtype in _COLUMNS.items()}
        found |= {name: lists(name, dtype) for name, dtype in _LISTS.items()}
        pooled = found.pop("pooled")
        if not (pooled == pooled[:1]).all():
            raise SetError(
                "These languages were pooled in different measurements, so their thresholds differ; measure them together"
            )
        return cls(
            model=model,
            site=cast(Site, site),
            languages=languages,
            n_tokens=column("n_tokens", np.int64)[:, 0, 0],
            percentiles=np.stack([column(f"p{q}", np.float32) for q in PERCENTILES], axis=-1),
            pooled=pooled[0],
            **found,
        )


def _lists(values: Any) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, len(PERCENTILES))


def _only(table: pa.Table, name: str) -> str:
    values = pc.unique(table[name].cast(pa.string())).to_pylist()
    if len(values) > 1:
        raise SetError(f"The activations are of {name} {', '.join(map(str, values))}; choose one of them")
    return str(values[0])
