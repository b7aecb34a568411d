"""The result of detection as Arrow tables: one row per language and neuron, and one summary row per language and group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from torch import Tensor

from polyneuron.neuron_core.impacts.accumulate import Impacts
from polyneuron.neuron_core.impacts.schema import IMPACTS_SCHEMA, SUMMARY_SCHEMA
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.passes.limits import N_SMALLEST


@dataclass(frozen=True)
class LanguageImpacts:
    """Detection of one language: `impacts` (IMPACTS_SCHEMA, ordered by layer, group, neuron) and `summary`."""

    language: str
    impacts: pa.Table
    summary: pa.Table

    @staticmethod
    def build(
        language: str,
        mode: str,
        n_tokens: int,
        n_sentences: int,
        found: Mapping[tuple[int, str], Impacts],
        kept: Mapping[tuple[int, str], Tensor],
        seed_only: Mapping[tuple[int, str], Impacts],
        floors: Mapping[str, tuple[float, float]],
        seed_squares: Mapping[str, tuple[float, float]],
    ) -> LanguageImpacts:
        """Lays out what `detect_language` found. For keys of `kept`, `found` covers those neurons, `seed_only` all."""
        keys = sorted(found, key=lambda key: (key[0], GROUPS.index(key[1])))
        blocks = [_rows(language, key, found[key], kept.get(key), seed_only.get(key)) for key in keys]
        impacts = pa.concat_tables(blocks).combine_chunks()
        bounded = {
            group: sum(len(seed_only[key].minimum) - len(kept[key]) for key in kept if key[1] == group)
            for group in floors
        }
        summary = [
            {
                "language": language,
                "group": group,
                "n_sentences": n_sentences,
                "n_tokens": n_tokens,
                "seed_mean_square": seed_squares[group][1],
                "seed_mean_square_raw": seed_squares[group][0],
                "floor_raw": floors[group][0] if group in floors else None,
                "floor_rms": floors[group][1] if group in floors else None,
                "n_bounded": bounded.get(group, 0),
                "mode": mode,
            }
            for group in GROUPS
            if group in seed_squares
        ]
        return LanguageImpacts(language, impacts, pa.Table.from_pylist(summary, schema=SUMMARY_SCHEMA))


class ImpactTable:
    """Impacts of several languages. `impacts` and `summaries` are Arrow tables."""

    def __init__(self, languages: Sequence[LanguageImpacts]) -> None:
        self.languages = tuple(language.language for language in languages)
        self.impacts: pa.Table = pa.concat_tables(
            [language.impacts for language in languages]
        ).combine_chunks()
        self.summaries: pa.Table = pa.concat_tables([language.summary for language in languages])

    def to_arrow(self) -> pa.Table:
        """All rows, in the order language, layer, group, neuron; see `IMPACTS_SCHEMA`."""
        return self.impacts


def _rows(
    language: str, key: tuple[int, str], impacts: Impacts, kept: Tensor | None, seed: Impacts | None
) -> pa.Table:
    n = len(impacts.minimum) if seed is None else len(seed.minimum)
    measured = np.ones(n, dtype=bool)
    source = impacts if seed is None else seed
    minimum = source.minimum.numpy().copy()
    smallest = source.smallest.numpy().T.copy()
    mean, maximum = np.full(n, np.nan, np.float32), np.full(n, np.nan, np.float32)
    where = np.arange(n) if kept is None else kept.numpy()
    minimum[where], smallest[where] = impacts.minimum.numpy(), impacts.smallest.numpy().T
    mean[where] = (impacts.total / impacts.n_sentences).float().numpy()
    maximum[where] = impacts.maximum.numpy()
    if kept is not None:
        measured[:] = False
        measured[where] = True
    columns = [
        pa.array([language]).take(pa.array(np.zeros(n, np.int32))),
        pa.array(np.full(n, key[0], np.int32)),
        pa.array([key[1]]).take(pa.array(np.zeros(n, np.int32))),
        pa.array(np.arange(n, dtype=np.int32)),
        pa.array(minimum),
        pa.array(mean, mask=~measured),
        pa.array(maximum, mask=~measured),
        pa.array(smallest[:, 0].copy()),
        _lists(smallest, measured, min(impacts.n_sentences, N_SMALLEST)),
        pa.nulls(n, pa.float32()) if impacts.worst_rank is None else pa.array(impacts.worst_rank.numpy()),
        pa.array(~measured),
    ]
    return pa.Table.from_arrays(columns, schema=IMPACTS_SCHEMA)


def _lists(values: np.ndarray, measured: np.ndarray, length: int) -> pa.Array:
    """list<float32> of the first `length` values of each measured row; null elsewhere."""
    offsets = np.concatenate([[0], np.cumsum(np.where(measured, length, 0))]).astype(np.int32)
    flat = pa.array(values[measured, :length].reshape(-1))
    return pa.ListArray.from_arrays(pa.array(offsets), flat, mask=pa.array(~measured))
