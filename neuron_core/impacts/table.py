"""The result of detection as Arrow tables: one row per language and neuron, and one summary row per language and group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from torch import Tensor

from polyneuron.neuron_core.common.html import html_table
from polyneuron.neuron_core.impacts.accumulate import Impacts
from polyneuron.neuron_core.impacts.schema import IMPACTS_SCHEMA, SUMMARY_SCHEMA
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.passes.limits import N_SMALLEST


@dataclass(frozen=True)
class LanguageImpacts:
    """Detection of one language."""

    language: str
    """Its code."""
    impacts: pa.Table
    """`IMPACTS_SCHEMA`, ordered by layer, group, neuron."""
    summary: pa.Table
    """`SUMMARY_SCHEMA`, one row per group."""

    @property
    def n_bounded(self) -> int:
        """Neurons of which only an upper bound is known."""
        return sum(self.summary["n_bounded"].to_pylist())

    @staticmethod
    def build(
        language: str,
        mode: str,
        *,
        n_tokens: int,
        n_sentences: int,
        impacts: Mapping[tuple[int, str], Impacts],
        seed: Mapping[tuple[int, str], Impacts],
        pruned: Mapping[tuple[int, str], tuple[Tensor, Impacts]],
        floors: Mapping[str, tuple[float, float]],
        seed_squares: Mapping[str, tuple[float, float]],
    ) -> LanguageImpacts:
        """Lays out what `detect_language` measured. `seed`: the impacts over the seed sentences alone. `pruned`: for the keys
        whose `impacts` cover some neurons only, those neurons, and the seed's impacts of all."""
        keys = sorted(impacts, key=lambda key: (key[0], GROUPS.index(key[1])))
        blocks = [_rows(language, key, impacts[key], seed[key], pruned.get(key)) for key in keys]
        rows = [
            {
                "language": language,
                "group": group,
                "n_sentences": n_sentences,
                "n_tokens": n_tokens,
                "seed_mean_square": seed_squares[group][1],
                "seed_mean_square_raw": seed_squares[group][0],
                "floor_raw": floors[group][0] if group in floors else None,
                "floor_rms": floors[group][1] if group in floors else None,
                "n_bounded": sum(
                    len(seed.minimum) - len(kept) for key, (kept, seed) in pruned.items() if key[1] == group
                ),
                "mode": mode,
            }
            for group in GROUPS
            if group in seed_squares
        ]
        summary = pa.Table.from_pylist(rows, schema=SUMMARY_SCHEMA)
        return LanguageImpacts(language, pa.concat_tables(blocks).combine_chunks(), summary)

    def lowered(
        self,
        measured: Mapping[tuple[int, str], tuple[np.ndarray, Impacts]],
        floors: Mapping[str, tuple[float, float]],
    ) -> LanguageImpacts:
        """The same with lower `floors` of some groups, and with the impacts of neurons that were bounded: by layer and group
        their rows of the table, ascending, and what was measured."""
        blocks = [self._measured_rows(*of_key) for of_key in measured.values()]
        order = np.arange(self.impacts.num_rows)
        for rows, _ in measured.values():
            order[rows] = -1
        unchanged = order[order >= 0]
        order = np.concatenate([unchanged, *(rows for rows, _ in measured.values())])
        impacts = pa.concat_tables([self.impacts.take(pa.array(unchanged)), *blocks]).combine_chunks()
        summary = self.summary.to_pylist()
        for row in summary:
            if row["group"] in floors:
                row["floor_raw"], row["floor_rms"] = floors[row["group"]]
                row["n_bounded"] -= sum(
                    len(rows) for (_, group), (rows, _) in measured.items() if group == row["group"]
                )
        return LanguageImpacts(
            self.language,
            impacts.take(pa.array(np.argsort(order))),
            pa.Table.from_pylist(summary, schema=SUMMARY_SCHEMA),
        )

    def _measured_rows(self, rows: np.ndarray, impacts: Impacts) -> pa.Table:
        """Those rows, measured now, where they were bounded: what was their bound is what the seed gave."""
        before, n = self.impacts.take(pa.array(rows)), len(rows)
        everyone = np.ones(n, dtype=bool)
        smallest = impacts.smallest.numpy().T.copy()
        columns = [
            *(before[name].combine_chunks() for name in ("language", "layer", "group", "neuron")),
            pa.array(impacts.minimum.numpy()),
            pa.array((impacts.total / impacts.n_sentences).float().numpy()),
            pa.array(impacts.maximum.numpy()),
            pa.array(smallest[:, 0].copy()),
            before["impact_seed"].combine_chunks(),
            _lists(smallest, everyone, min(impacts.n_sentences, N_SMALLEST)),
            pa.nulls(n, pa.float32()),
            pa.array(~everyone),
            before["impact_min"].combine_chunks(),
            before["impact_rms_min"].combine_chunks(),
        ]
        return pa.Table.from_arrays(columns, schema=IMPACTS_SCHEMA)


class ImpactTable:
    """Impacts of several languages. `impacts` and `summaries` are Arrow tables."""

    def __init__(self, languages: Sequence[LanguageImpacts]) -> None:
        self.languages = tuple(language.language for language in languages)
        impacts = pa.concat_tables([language.impacts for language in languages])
        self.impacts: pa.Table = impacts.combine_chunks()
        self.summaries: pa.Table = pa.concat_tables([language.summary for language in languages])

    def __repr__(self) -> str:
        return f"ImpactTable({', '.join(self.languages)}: {self.impacts.num_rows} rows)"

    def _repr_html_(self) -> str:
        rows = [
            [row[name] for name in ("language", "group", "n_sentences", "n_tokens")]
            for row in self.summaries.to_pylist()
        ]
        return html_table(
            f"Impacts: {self.impacts.num_rows} rows", ("language", "group", "sentences", "tokens"), rows
        )

    def to_arrow(self) -> pa.Table:
        """All rows, in the order language, layer, group, neuron; see `IMPACTS_SCHEMA`."""
        return self.impacts


def _rows(
    language: str,
    key: tuple[int, str],
    impacts: Impacts,
    seed: Impacts,
    pruned: tuple[Tensor, Impacts] | None,
) -> pa.Table:
    source = impacts if pruned is None else pruned[1]
    n = len(source.minimum)
    kept = np.arange(n) if pruned is None else pruned[0].numpy()
    measured = np.zeros(n, dtype=bool)
    measured[kept] = True
    minimum, smallest = source.minimum.numpy().copy(), source.smallest.numpy().T.copy()
    mean, maximum = np.full(n, np.nan, np.float32), np.full(n, np.nan, np.float32)
    minimum[kept], smallest[kept] = impacts.minimum.numpy(), impacts.smallest.numpy().T
    mean[kept] = (impacts.total / impacts.n_sentences).float().numpy()
    maximum[kept] = impacts.maximum.numpy()
    goes_on = measured & (pruned is not None)
    columns = [
        pa.array([language]).take(pa.array(np.zeros(n, np.int32))),
        pa.array(np.full(n, key[0], np.int32)),
        pa.array([key[1]]).take(pa.array(np.zeros(n, np.int32))),
        pa.array(np.arange(n, dtype=np.int32)),
        pa.array(minimum),
        pa.array(mean, mask=~measured),
        pa.array(maximum, mask=~measured),
        pa.array(smallest[:, 0].copy()),
        pa.array((seed.square_per_token / seed.n_sentences).sqrt().float().numpy()),
        _lists(smallest, measured, min(impacts.n_sentences, N_SMALLEST)),
        pa.nulls(n, pa.float32()) if impacts.worst_rank is None else pa.array(impacts.worst_rank.numpy()),
        pa.array(~measured),
        pa.array(source.minimum.numpy(), mask=~goes_on),
        pa.array(source.smallest[0].numpy(), mask=~goes_on),
    ]
    return pa.Table.from_arrays(columns, schema=IMPACTS_SCHEMA)


def _lists(values: np.ndarray, measured: np.ndarray, length: int) -> pa.Array:
    """list<float32> of the first `length` values of each measured row; null elsewhere."""
    offsets = np.concatenate([[0], np.cumsum(np.where(measured, length, 0))]).astype(np.int32)
    flat = pa.array(values[measured, :length].reshape(-1))
    return pa.ListArray.from_arrays(pa.array(offsets), flat, mask=pa.array(~measured))
