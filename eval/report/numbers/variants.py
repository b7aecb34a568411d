"""Held-out losses of a model and its variants, read from rows of the table perplexities."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True)
class Variant:
    """Held-out losses: ``nll[language]`` = sentence numbers, nats (NaN: unscored), predicted tokens."""

    name: str
    kind: str
    control_of: str | None
    set_language: str | None
    seed: int | None
    n_neurons: int
    nll: dict[str, tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]]


def variants_of(perplexities: pa.Table) -> tuple[Variant, ...]:
    """Of one model and one selection."""
    columns = ["variant", "kind", "control_of", "set_language", "seed", "n_neurons", "language"]
    parts: dict[str, tuple[dict[str, Any], dict[str, tuple[Any, ...]]]] = {}
    rows = perplexities.select([*columns, "sentence", "nll_nats", "n_tokens"]).sort_by(
        [("variant", "ascending"), ("language", "ascending"), ("sentence", "ascending")]
    )
    names, langs = (np.array(rows[c].to_pylist(), object) for c in ("variant", "language"))
    cuts = [0, *(np.flatnonzero((names[1:] != names[:-1]) | (langs[1:] != langs[:-1])) + 1), len(names)]
    for start, stop in itertools.pairwise(cuts):
        if start == stop:
            continue
        block = rows.slice(start, stop - start)
        first = block.select(columns).slice(0, 1).to_pylist()[0]
        _, nll = parts.setdefault(first["variant"], (first, {}))
        nll[first["language"]] = (
            np.asarray(block["sentence"], np.int64),
            np.asarray(block["nll_nats"], np.float64),
            np.asarray(block["n_tokens"], np.float64),
        )
    return tuple(
        Variant(
            name=name,
            kind=head["kind"],
            control_of=head["control_of"],
            set_language=head["set_language"],
            seed=head["seed"],
            n_neurons=head["n_neurons"],
            nll=nll,
        )
        for name, (head, nll) in parts.items()
    )
