"""Other methods' sets beside those of impacts: what detectors found in activations, and the stored overlaps.

Detectors have selections, sets and perplexities of their own in the store; nothing of them enters the tables of the impact study.
"""

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
from polyneuron.neuron_core.detectors.names import DETECTORS, IMPACT_METHODS

DEGENERATE = "act_prob"
"""The published form that can hardly tell neurons apart."""
EMPTY, APART = "empty", "apart"
"""One of two sets is empty; no layer has neurons of both."""
COMPARED = (ABOVE, WITHIN, BELOW)
_PER_LAYER = 1 << 32


@dataclass(frozen=True, slots=True)
class MethodSets:
    """One method's ffn neurons. ``members[language]``: distinct numbers layer × 2³² + neuron; a language that is not
    in it was not asked for, one with an empty array has no neurons. ``title``: what people call the method."""

    name: str
    members: Mapping[str, NDArray[np.int64]]
    n_layers: int
    title: str = ""

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
    def percentile(self) -> Any:
        """The percentile that its activations are compared with, where it compares them."""
        return _percentile(self.row)


@dataclass(frozen=True, slots=True)
class OtherMethods:
    """All methods that looked at the feed-forward neurons of one model. ``impacts``: the feed-forward part of the impact
    study's sets; ``overlaps``, by two methods and a language in the order of both: stored rows, the whole model first and then
    its layers."""

    languages: tuple[str, ...]
    impacts: tuple[MethodSets, ...]
    detectors: tuple[ShownDetector, ...]
    overlaps: dict[tuple[str, str], dict[str, list[Row]]]

    @property
    def methods(self) -> tuple[MethodSets, ...]:
        """The sets of all methods, those of impacts first."""
        return (*self.impacts, *(detector.sets for detector in self.detectors))

    @property
    def names(self) -> dict[str, str]:
        """The title of each method."""
        return {sets.name: sets.title for sets in self.methods}

    @property
    def n_neurons(self) -> int:
        """Ffn neurons of the model."""
        return int(self.detectors[0].row["n_neurons"])


def other_methods(
    tables: StudiedTables, impact_sets: pa.Table, languages: Sequence[str], n_layers: int
) -> OtherMethods | None:
    """None when no detector looked at the model."""
    stored = tables.read("detectors").to_pylist()
    if not stored:
        return None
    compared = tables.read("set_overlaps").to_pylist()
    sets = {row["selection"]: tables.read("neuron_sets", row["selection"]) for row in stored}
    n_layers = max([n_layers, *(1 + (pc.max(rows["layer"]).as_py() or 0) for rows in sets.values())])
    ffn = impact_sets.filter(pc.equal(impact_sets["group"], "ffn"))
    impacts = tuple(
        MethodSets(name, _members(ffn, kind, languages), n_layers, f"impact ({kind})")
        for name, kind in IMPACT_METHODS.items()
    )
    detectors = []
    for row in sorted(stored, key=lambda row: _place(row["detector"])):
        name, selection = row["detector"], row["selection"]
        asked = {pair["language"] for pair in compared if name in (pair["method_a"], pair["method_b"])}
        members = _members(sets[selection], "detected", sorted(asked))
        shown = MethodSets(name, members, n_layers, _title(row))
        detectors.append(ShownDetector(shown, row, variants_of(tables.read("perplexities", selection))))
    extra = {code for detector in detectors for code in detector.sets.members} - set(languages)
    codes = (*languages, *sorted(extra))
    order = [*IMPACT_METHODS, *(detector.sets.name for detector in detectors)]

    def place(row: Row) -> tuple[int, ...]:
        pair = order.index(row["method_a"]), order.index(row["method_b"])
        return *pair, codes.index(row["language"]), -1 if row["layer"] is None else row["layer"]

    overlaps: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in sorted(compared, key=place):
        of_pair = overlaps.setdefault((row["method_a"], row["method_b"]), {})
        of_pair.setdefault(row["language"], []).append(row)
    return OtherMethods(codes, impacts, tuple(detectors), overlaps)


def overlap_verdict(row: Row) -> str:
    """Where the common neurons of two methods lie beside the stored central 95% interval of chance. Above it, below it or within;
    `EMPTY` and `APART` where nothing can be compared. Not corrected for the number of comparisons."""
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


def _percentile(row: Row) -> Any:
    return json.loads(row["rule_json"] or "{}").get("percentile", 90)


def _title(row: Row) -> str:
    """``Act-Prob-90p (pooled)``; a name we do not know stays as it is."""
    act_prob = f"Act-Prob-{_percentile(row)}p"
    known = {
        "lape": "LAPE",
        DEGENERATE: f"{act_prob} (as published)",
        "act_prob_pooled": f"{act_prob} (pooled)",
    }
    return known.get(row["detector"]) or str(row["detector"])


def _place(name: str) -> tuple[int, str]:
    known: Sequence[str] = DETECTORS
    return (known.index(name) if name in known else len(known)), name
