"""Other methods' sets beside those of impacts: what detectors found in activations, and the stored overlaps.

Detectors have selections, sets and perplexities of their own in the store; nothing of them enters the tables of the
impact study.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyneuron.eval.report.numbers.effects import ABOVE, BELOW, WITHIN
from polyneuron.eval.report.numbers.units import Row, StudiedTables
from polyneuron.eval.report.numbers.variants import Variants, variants_of

IMPACT_METHODS = {"impact_related": "related", "impact_exclusive": "exclusive"}
"""Names of the impact study's sets in the table set_overlaps, and their kinds."""
DEGENERATE = "act_prob"
"""The published form that can hardly tell neurons apart."""
EMPTY, APART = "empty", "apart"
"""One of two sets is empty; no layer has neurons of both."""
COMPARED = (ABOVE, WITHIN, BELOW)
_PER_LAYER = 1 << 32


@dataclass(frozen=True, slots=True)
class MethodSets:
    """One method's ffn neurons. ``members[language]``: distinct numbers layer × 2³² + neuron; a language that is not
    in it was not asked for, one with an empty array has no neurons."""

    name: str
    members: Mapping[str, NDArray[np.int64]]
    n_layers: int

    def size(self, language: str) -> int | None:
        """How many neurons the method finds; None where it was not asked."""
        return len(self.members[language]) if language in self.members else None

    def by_layer(self, language: str) -> NDArray[np.int64]:
        """How many neurons each layer has, [n_layers]."""
        members = self.members.get(language, np.empty(0, np.int64))
        return np.bincount(members // _PER_LAYER, minlength=self.n_layers).astype(np.int64)

    def common(self, a: str, b: str) -> tuple[int, int]:
        """How many neurons two languages have in common, and how many at least one of them has."""
        both = len(np.intersect1d(self.members[a], self.members[b], assume_unique=True))
        return both, len(self.members[a]) + len(self.members[b]) - both


@dataclass(frozen=True, slots=True)
class ShownDetector:
    """A method that reads activations. ``row``: of the table detectors; ``variants``: the base model, each of its sets switched
    off, and their random draws."""

    sets: MethodSets
    row: Row
    variants: Variants

    @property
    def name(self) -> str:
        """The detector's name as it is stored."""
        return self.sets.name

    @property
    def percentile(self) -> Any:
        """The percentile that its activations are compared with, where it compares them."""
        return json.loads(self.row["rule_json"] or "{}").get("percentile", 90)


@dataclass(frozen=True, slots=True)
class OtherMethods:
    """All methods that looked at the feed-forward neurons of one model. ``impacts``: the feed-forward part of the impact
    study's sets; ``overlaps``, by two methods and a language: stored rows, the whole model first and then its layers."""

    languages: tuple[str, ...]
    impacts: tuple[MethodSets, ...]
    detectors: tuple[ShownDetector, ...]
    overlaps: dict[tuple[str, str, str], list[Row]]

    @property
    def methods(self) -> tuple[MethodSets, ...]:
        """The sets of all methods, those of impacts first."""
        return (*self.impacts, *(detector.sets for detector in self.detectors))

    @property
    def names(self) -> dict[str, str]:
        """How each method is called for people: ``Act-Prob-90p (pooled)``; a name we do not know stays as it is."""
        names = {name: f"impact ({kind})" for name, kind in IMPACT_METHODS.items()}
        for detector in self.detectors:
            act_prob = f"Act-Prob-{detector.percentile}p"
            known = {
                "lape": "LAPE",
                DEGENERATE: f"{act_prob} (as published)",
                "act_prob_pooled": f"{act_prob} (pooled)",
            }
            names[detector.name] = known.get(detector.name, detector.name)
        return names

    @property
    def n_neurons(self) -> int:
        """Ffn neurons of the model."""
        return int(self.detectors[0].row["n_neurons"])

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of methods with a stored overlap, in the order of the methods."""
        order = [sets.name for sets in self.methods]
        return sorted({key[:2] for key in self.overlaps}, key=lambda pair: tuple(map(order.index, pair)))


def other_methods(
    tables: StudiedTables, impact_sets: pa.Table, languages: Sequence[str], n_layers: int
) -> OtherMethods | None:
    """None when no detector looked at the model."""
    stored = tables.read("detectors").to_pylist()
    if not stored:
        return None
    overlaps: dict[tuple[str, str, str], list[Row]] = {}
    for row in tables.read("set_overlaps").to_pylist():
        overlaps.setdefault((row["method_a"], row["method_b"], row["language"]), []).append(row)
    sets = {row["selection"]: tables.read("neuron_sets", row["selection"]) for row in stored}
    n_layers = max([n_layers, *(1 + (pc.max(rows["layer"]).as_py() or 0) for rows in sets.values())])
    ffn = impact_sets.filter(pc.equal(impact_sets["group"], "ffn"))
    impacts = tuple(
        MethodSets(name, _members(ffn, kind, languages), n_layers) for name, kind in IMPACT_METHODS.items()
    )
    detectors = []
    for row in sorted(stored, key=lambda row: _place(row["detector"])):
        asked = {key[2] for key in overlaps if row["detector"] in key[:2]}
        members = _members(sets[row["selection"]], "detected", sorted(asked))
        sets_shown = MethodSets(row["detector"], members, n_layers)
        detectors.append(
            ShownDetector(sets_shown, row, variants_of(tables.read("perplexities", row["selection"])))
        )
    extra = {code for detector in detectors for code in detector.sets.members} - set(languages)
    ordered = {
        key: sorted(rows, key=lambda row: -1 if row["layer"] is None else row["layer"])
        for key, rows in overlaps.items()
    }
    return OtherMethods((*languages, *sorted(extra)), impacts, tuple(detectors), ordered)


def overlap_verdict(row: Row) -> str:
    """Where the common neurons of two methods lie beside the stored central 95% interval of chance.

    Above it, below it or within; `EMPTY` and `APART` where nothing can be compared. Not corrected for the number of comparisons.
    """
    if not row["n_a"] or not row["n_b"]:
        return EMPTY
    if not row["chance_common"]:
        return APART
    if row["n_common"] > row["chance_high"]:
        return ABOVE
    return BELOW if row["n_common"] < row["chance_low"] else WITHIN


def chance_ratio(row: Row) -> float | None:
    """Common neurons over those expected by chance; None where none can be common."""
    return row["n_common"] / row["chance_common"] if row["chance_common"] else None


def layer_tally(rows: Iterable[Row]) -> dict[str, int]:
    """How many layers are above, within or below chance, of those where both methods have neurons."""
    verdicts = [overlap_verdict(row) for row in rows if row["layer"] is not None]
    return {name: verdicts.count(name) for name in COMPARED}


def _members(rows: pa.Table, kind: str, languages: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Of every language in ``languages``, and of every other that has neurons."""
    rows = rows.filter(pc.equal(rows["kind"], kind))
    address = np.asarray(rows["layer"], np.int64) * _PER_LAYER + np.asarray(rows["neuron"], np.int64)
    names = np.array(rows["language"].to_pylist(), object)
    codes = dict.fromkeys([*languages, *sorted(set(names.tolist()))])
    return {code: np.unique(address[names == code]) for code in codes}


def _place(name: str) -> tuple[int, str]:
    known = ("lape", "act_prob", "act_prob_pooled")
    return (known.index(name) if name in known else len(known)), name
