"""Sketches as Arrow tables, so that workers and resumed runs can be merged: one row per language, layer and neuron.

Only buckets that hold a token are written. Integers merge exactly, so shards merged in any order equal one process
bit for bit, as long as micro-batches are planned before they are shared out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from polyneuron.neuron_core.activations.resolution import N_BUCKETS
from polyneuron.neuron_core.activations.sketch import ActivationSketch

Key = tuple[str, int]
"""(language, layer)."""
Sketches = dict[Key, ActivationSketch]

SKETCHES_SCHEMA = pa.schema(
    [
        ("language", pa.string()),
        ("layer", pa.int32()),
        ("neuron", pa.int32()),
        ("n_tokens", pa.int64()),
        ("total", pa.int64()),
        ("minimum", pa.float32()),
        ("maximum", pa.float32()),
        ("buckets", pa.list_(pa.int16())),
        ("counts", pa.list_(pa.int32())),
    ]
)
"""See `ActivationSketch`. buckets, ascending, and counts: those buckets of the neuron that hold a token."""


def merge_sketches(parts: Iterable[Mapping[Key, ActivationSketch]]) -> Sketches:
    """Joins what several workers found.

    Raises:
        CorpusError: more tokens of one language than a sketch can count.
    """
    merged: Sketches = {}
    for part in parts:
        for key, sketch in part.items():
            merged[key] = merged[key].merged(sketch) if key in merged else sketch
    return merged


def sketches_to_arrow(sketches: Mapping[Key, ActivationSketch]) -> pa.Table:
    """Rows in the order of `sketches`, `SKETCHES_SCHEMA`."""
    tables = [_rows(*key, sketch) for key, sketch in sketches.items()]
    return pa.concat_tables([SKETCHES_SCHEMA.empty_table(), *tables])


def sketches_from_arrow(table: pa.Table) -> Sketches:
    """What `sketches_to_arrow` was given."""
    layers = table["layer"].to_numpy()
    languages = table["language"].combine_chunks().dictionary_encode()
    codes, names = languages.indices.to_numpy(), languages.dictionary.to_pylist()
    starts = np.flatnonzero((np.diff(layers, prepend=-1) != 0) | (np.diff(codes, prepend=-1) != 0))
    return {
        (names[codes[start]], int(layers[start])): _sketch(table.slice(start, end - start))
        for start, end in pairwise([*starts, table.num_rows])
    }


def _rows(language: str, layer: int, sketch: ActivationSketch) -> pa.Table:
    n = len(sketch.total)
    counts = sketch.counts.numpy()
    neurons, buckets = np.nonzero(counts)
    offsets = pa.array(np.searchsorted(neurons, np.arange(n + 1)).astype(np.int32))
    columns: list[Any] = [
        pa.array([language]).take(pa.array(np.zeros(n, np.int32))),
        pa.array(np.full(n, layer, np.int32)),
        pa.array(np.arange(n, dtype=np.int32)),
        pa.array(np.full(n, sketch.n_tokens, np.int64)),
        pa.array(sketch.total.numpy()),
        pa.array(sketch.minimum.numpy()),
        pa.array(sketch.maximum.numpy()),
        pa.ListArray.from_arrays(offsets, pa.array(buckets.astype(np.int16))),
        pa.ListArray.from_arrays(offsets, pa.array(counts[neurons, buckets])),
    ]
    return pa.Table.from_arrays(columns, schema=SKETCHES_SCHEMA)


def _sketch(rows: pa.Table) -> ActivationSketch:
    n = rows.num_rows
    lengths = rows["buckets"].combine_chunks().value_lengths().to_numpy()
    counts = np.zeros((n, N_BUCKETS), np.int32)
    neurons = np.repeat(np.arange(n), lengths)
    counts[neurons, rows["buckets"].combine_chunks().flatten().to_numpy()] = (
        rows["counts"].combine_chunks().flatten().to_numpy()
    )
    total, minimum, maximum = (
        torch.from_numpy(rows[name].to_numpy().copy()) for name in ("total", "minimum", "maximum")
    )
    return ActivationSketch(rows["n_tokens"][0].as_py(), torch.from_numpy(counts), total, minimum, maximum)
