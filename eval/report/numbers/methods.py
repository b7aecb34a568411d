"""Other methods' sets beside those of impacts: what detectors found in activations, and the stored overlaps.

Detectors have selections, sets and perplexities of their own in the store; nothing of them enters the tables of the
impact study.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyneuron.eval.report.numbers.variants import Variant, variants_of

Row = dict[str, Any]
IMPACT_METHODS = {"impact_related": "related", "impact_exclusive": "exclusive"}
"""Names of the impact study's sets in the table set_overlaps, and their kinds."""
_PER_LAYER = 1 << 32


class Reader(Protocol):
    """Rows of a table of the model at hand, the newest of each ``keys``; ``of``: of one selection."""

    def __call__(
        self, name: str, *keys: str, of: str | None = ..., rows: tuple[str, ...] = ...
    ) -> pa.Table: ...


@dataclass(frozen=True)
class MethodSets:
    """One method's ffn neurons. ``members[language]``: distinct numbers layer × 2³² + neuron; a language that is not
    in it was not asked for, one with an empty array has no neurons."""

    name: str
    members: dict[str, NDArray[np.int64]]
    n_layers: int

    def size(self, language: str) -> int | None:
        return len(self.members[language]) if language in self.members else None

    def by_layer(self, language: str) -> NDArray[np.int64]:
        """[n_layers]"""
        members = self.members.get(language, np.empty(0, np.int64))
        return np.bincount(members // _PER_LAYER, minlength=self.n_layers).astype(np.int64)


@dataclass(frozen=True)
class Detector:
    """A method that reads activations. ``n_neurons``: ffn neurons of the model; ``variants``: base, each set, and its
    random controls."""

    sets: MethodSets
    selection: str
    site: str
    rule: Row
    thresholds: dict[str, float | None]
    n_neurons: int
    variants: tuple[Variant, ...]

    @property
    def name(self) -> str:
        return self.sets.name


@dataclass(frozen=True)
class OtherMethods:
    """``overlaps[(a, b, language)]``: stored rows, the whole model first and then its layers. ``contradicted``: those
    left out because they belong to other sets than the ones shown."""

    languages: tuple[str, ...]
    n_layers: int
    impacts: tuple[MethodSets, ...]
    detectors: tuple[Detector, ...]
    overlaps: dict[tuple[str, str, str], list[Row]]
    contradicted: int = 0
    superseded: dict[str, int] = field(default_factory=dict)

    @property
    def methods(self) -> tuple[MethodSets, ...]:
        return (*self.impacts, *(each.sets for each in self.detectors))

    @property
    def n_neurons(self) -> int:
        """Ffn neurons of the model."""
        return self.detectors[0].n_neurons


def other_methods(
    read: Reader, impact_sets: pa.Table, languages: Sequence[str], n_layers: int, superseded: dict[str, int]
) -> OtherMethods | None:
    """None when no detector looked at the model. ``superseded`` is what ``read`` counts older units in."""
    found = read("detectors", "detector", of=None).to_pylist()
    if not found:
        return None
    overlaps: dict[tuple[str, str, str], list[Row]] = {}
    for row in read("set_overlaps", "method_a", "method_b", "language").to_pylist():
        overlaps.setdefault((row["method_a"], row["method_b"], row["language"]), []).append(row)
    rows_of = {
        row["selection"]: read("neuron_sets", "kind", "language", "variant", "seed", of=row["selection"])
        for row in found
    }
    n_layers = max([n_layers, *(1 + (pc.max(rows["layer"]).as_py() or 0) for rows in rows_of.values())])
    ffn = impact_sets.filter(pc.equal(impact_sets["group"], "ffn"))
    impacts = tuple(
        MethodSets(name, _members(ffn, kind, languages), n_layers) for name, kind in IMPACT_METHODS.items()
    )
    detectors = []
    for row in sorted(found, key=lambda row: _place(row["detector"])):
        asked = {key[2] for key in overlaps if row["detector"] in key[:2]}
        members = _members(rows_of[row["selection"]], "detected", sorted(asked))
        perplexities = read("perplexities", "variant", "language", of=row["selection"], rows=("sentence",))
        detectors.append(
            Detector(
                sets=MethodSets(row["detector"], members, n_layers),
                selection=row["selection"],
                site=row["site"],
                rule=json.loads(row["rule_json"] or "{}"),
                thresholds=json.loads(row["thresholds_json"] or "{}"),
                n_neurons=row["n_neurons"],
                variants=variants_of(perplexities),
            )
        )
    by_name = {sets.name: sets for sets in (*impacts, *(each.sets for each in detectors))}
    kept = {key: _ordered(rows) for key, rows in overlaps.items() if _belongs(key, rows, by_name)}
    extra = {code for each in detectors for code in each.sets.members} - set(languages)
    return OtherMethods(
        languages=(*languages, *sorted(extra)),
        n_layers=n_layers,
        impacts=impacts,
        detectors=tuple(detectors),
        overlaps=kept,
        contradicted=len(overlaps) - len(kept),
        superseded=superseded,
    )


def _members(rows: pa.Table, kind: str, languages: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Of every language in ``languages``, and of every other that has neurons."""
    rows = rows.filter(pc.equal(rows["kind"], kind))
    address = np.asarray(rows["layer"], np.int64) * _PER_LAYER + np.asarray(rows["neuron"], np.int64)
    names = np.array(rows["language"].to_pylist(), object)
    codes = dict.fromkeys([*languages, *sorted(set(names.tolist()))])
    return {code: np.unique(address[names == code]) for code in codes}


def _belongs(key: tuple[str, str, str], rows: list[Row], by_name: dict[str, MethodSets]) -> bool:
    """Whether the stored counts are those of the sets shown."""
    name_a, name_b, language = key
    if name_a not in by_name or name_b not in by_name:
        return False
    a, b = (by_name[name].members.get(language) for name in (name_a, name_b))
    whole = next((row for row in rows if row["layer"] is None), None)
    if a is None or b is None or whole is None:
        return False
    common = len(np.intersect1d(a, b, assume_unique=True))
    return (whole["n_a"], whole["n_b"], whole["n_common"]) == (len(a), len(b), common)


def _ordered(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: -1 if row["layer"] is None else row["layer"])


def _place(name: str) -> tuple[int, str]:
    known = ("lape", "act_prob", "act_prob_pooled")
    return (known.index(name) if name in known else len(known)), name
