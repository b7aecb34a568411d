"""Reads a store into the few small arrays the report draws from, one ``ModelStudy`` per model.

A store may hold several runs and several selections of one model. The report shows, for each model, the
newest selection; of a measurement made more than once, the newest run's is used and the older is listed
as left out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyneuron.eval.report.numbers.failures import Failure, failures_of
from polyneuron.eval.report.numbers.impact_curves import read_curves
from polyneuron.eval.report.numbers.methods import OtherMethods, Reader, other_methods
from polyneuron.eval.report.numbers.thresholds import Curves
from polyneuron.eval.report.numbers.training import Training, trainings_of
from polyneuron.eval.report.numbers.variants import Variant, variants_of
from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.neuron_core.model.groups import GROUPS

Row = dict[str, Any]


class Readable(Protocol):
    """The part of ``polyneuron.eval.store.store.Store`` that the report needs."""

    def read(self, table: str, filters: Any = None) -> pa.Table: ...


@dataclass(frozen=True)
class Anatomy:
    """Neurons per layer of each measured group. ``widths`` is empty when the store has no impacts."""

    groups: tuple[str, ...]
    widths: dict[str, int]
    n_layers: int

    @property
    def n_neurons(self) -> int | None:
        return sum(self.widths.values()) * self.n_layers or None


@dataclass(frozen=True)
class SetFigures:
    """``counts[(kind, language)]``: neurons per [group, layer]; language is "" for the shared set.

    ``jaccard`` [L, L] between related sets; ``in_exactly[k - 1]``: neurons in exactly k related sets.
    """

    counts: dict[tuple[str, str], NDArray[np.int64]]
    jaccard: NDArray[np.float64]
    in_exactly: tuple[int, ...]

    def total(self, kind: str, language: str = "") -> int:
        return int(self.counts[kind, language].sum()) if (kind, language) in self.counts else 0


@dataclass(frozen=True)
class ModelStudy:
    model: str
    selection: str
    rule: Row
    thresholds: dict[str, float]
    languages: tuple[str, ...]
    anatomy: Anatomy
    sets: SetFigures
    variants: tuple[Variant, ...]
    metrics: list[Row]
    sensitivity: list[Row]
    detections: list[Row]
    corpora: list[Row]
    curves: Curves | None
    curves_missing: str | None
    other_selections: tuple[str, ...]
    superseded: dict[str, int] = field(default_factory=dict)
    scores: list[Row] = field(default_factory=list)
    verdicts: list[Row] = field(default_factory=list)
    trainings: tuple[Training, ...] = ()
    others: OtherMethods | None = None

    def variant(self, name: str) -> Variant | None:
        return next((v for v in self.variants if v.name == name), None)

    def of_kind(self, kind: str) -> list[Variant]:
        return [v for v in self.variants if v.kind == kind]

    def controls_of(self, name: str) -> list[Variant]:
        return [v for v in self.variants if v.kind == "control" and v.control_of == name]


@dataclass(frozen=True)
class Report:
    runs: list[Row]
    studies: tuple[ModelStudy, ...]
    failures: tuple[Failure, ...] = ()


def read_report(store: Readable, units: Collection[str] | None = None) -> Report:
    """Everything the page shows, of the units of work in ``units`` only when they are given.

    Raises StoreError when no model in the store has a selection yet.
    """
    runs = sorted(store.read("runs").to_pylist(), key=lambda r: (str(r["started_at"]), r["run_id"]))
    order = {r["run_id"]: i for i, r in enumerate(runs)}
    selections = _of_units(store.read("selections"), units).to_pylist()
    if not selections:
        raise StoreError(
            "The store holds no selection, so there is nothing to report. "
            "Run `polyneuron study` (or `polyneuron detect`) on this store first."
        )
    selections.sort(key=lambda r: (order.get(r["run_id"], -1), r["unit"]))
    models: dict[str, list[Row]] = {}
    for row in selections:
        models.setdefault(row["model"], []).append(row)
    studies = [_read_study(store, rows, runs, order, units) for _, rows in sorted(models.items())]
    return Report(runs, tuple(studies), failures_of(runs))


def _of_units(table: pa.Table, units: Collection[str] | None) -> pa.Table:
    if units is None:
        return table
    return table.filter(pc.is_in(table["unit"], value_set=pa.array(sorted(units), pa.string())))


def _read_study(
    store: Readable,
    selections: list[Row],
    runs: list[Row],
    order: dict[str, int],
    units: Collection[str] | None,
) -> ModelStudy:
    chosen = selections[-1]
    model, selection = chosen["model"], chosen["selection"]
    superseded: dict[str, int] = {}
    superseded_others: dict[str, int] = {}

    def reader(counted: dict[str, int]) -> Reader:
        def table(name: str, *keys: str, of: str | None = selection, rows: tuple[str, ...] = ()) -> pa.Table:
            filters = [("model", "=", model)] + ([("selection", "=", of)] if of is not None else [])
            found = _of_units(store.read(name, filters=filters), units)
            if "night" in found.schema.names:  # nightly runs have their own summary
                found = found.filter(pc.is_null(found["night"]))
            newest, dropped = newest_only(found, keys, rows, order)
            if dropped:
                counted[name] = counted.get(name, 0) + dropped
            return newest

        return table

    table = reader(superseded)
    rule = json.loads(chosen["rule_json"] or "{}")
    thresholds = {
        g: float(t) for g, t in json.loads(chosen["thresholds_json"] or "{}").items() if t is not None
    }
    detections = table("detections", "language", "group", of=None).to_pylist()
    impacts = table("impacts", "language", "group", of=None, rows=("layer", "neuron"))
    sets = table("neuron_sets", "kind", "language", "variant", "seed")
    sets = sets.filter(pc.not_equal(sets["kind"], "control"))
    corpora = table("corpora", "language", of=None).to_pylist()
    languages = _languages(sets, detections, corpora)
    corpora.sort(key=lambda row: languages.index(row["language"]))
    anatomy = _anatomy(impacts, sets)
    curves, missing = read_curves(impacts, detections, rule, thresholds, languages, sets)
    return ModelStudy(
        model=model,
        selection=selection,
        rule=rule,
        thresholds=thresholds,
        languages=languages,
        anatomy=anatomy,
        sets=_set_figures(sets, anatomy, languages),
        variants=variants_of(table("perplexities", "variant", "language", rows=("sentence",))),
        metrics=table("metrics", "metric", "language").to_pylist(),
        sensitivity=table("sensitivity", "neighbour", "language").to_pylist(),
        detections=detections,
        corpora=corpora,
        curves=curves,
        curves_missing=missing,
        other_selections=tuple(
            dict.fromkeys(r["selection"] for r in selections if r["selection"] != selection)
        ),
        scores=table("scores", "variant", "benchmark", "language", of=None).to_pylist(),
        verdicts=table("verdicts", of=None).to_pylist(),
        trainings=trainings_of(
            table("training", "variant", of=None).to_pylist(),
            table("validations", "variant", "language", of=None).to_pylist(),
            runs,
            languages,
        ),
        superseded=superseded,
        others=other_methods(reader(superseded_others), sets, languages, anatomy.n_layers, superseded_others),
    )


def newest_only(
    table: pa.Table, keys: tuple[str, ...], row_keys: tuple[str, ...], order: dict[str, int]
) -> tuple[pa.Table, int]:
    """Drop older measurements of the same thing; returns the rest and how many units of work were left out.

    Within each value of ``keys``, units are taken newest run first. One that shares a value of
    ``row_keys`` with a newer one repeats it and is left out; one that does not is another shard and
    stays. No ``row_keys``: never sharded.
    """
    columns = [*keys, "run_id", "unit"]
    units: dict[tuple[Any, ...], list[Row]] = {}
    for row in table.select(columns).group_by(columns).aggregate([]).to_pylist():
        units.setdefault(tuple(row[k] for k in keys), []).append(row)
    keep = np.ones(table.num_rows, bool)
    dropped = 0
    for rows in units.values():
        if len(rows) == 1:
            continue
        taken: set[tuple[Any, ...]] = set()
        for row in sorted(rows, key=lambda r: (order.get(r["run_id"], -1), r["unit"]), reverse=True):
            mask = _matches(table, {name: row[name] for name in columns})
            part = table.filter(pa.array(mask)).select(row_keys) if row_keys else None
            names = set(zip(*part.to_pydict().values(), strict=True)) if part is not None else {()}
            if taken & names:
                keep &= ~mask
                dropped += 1
            taken |= names
    return (table.filter(pa.array(keep)) if dropped else table), dropped


def _matches(table: pa.Table, values: Row) -> NDArray[np.bool_]:
    """Rows equal to ``values``, a null being equal to a null."""
    mask = np.ones(table.num_rows, bool)
    for name, value in values.items():
        same = pc.is_null(table[name]) if value is None else pc.fill_null(pc.equal(table[name], value), False)
        mask &= np.asarray(same)
    return mask


def _languages(sets: pa.Table, detections: list[Row], corpora: list[Row]) -> tuple[str, ...]:
    """Every language of the study, the paper's six first, so that an empty set still has its row."""
    found = [r["language"] for r in (*detections, *corpora)]
    found += [v for v in pc.unique(sets["language"]).to_pylist() if v]
    unique = set(found)
    preferred = [code for code in ("en", "zh", "th", "sw", "fr", "de") if code in unique]
    return tuple(preferred + sorted(unique - set(preferred)))


def _anatomy(impacts: pa.Table, sets: pa.Table) -> Anatomy:
    source = impacts if impacts.num_rows else sets
    present = set(pc.unique(source["group"]).to_pylist())
    groups = tuple(g for g in GROUPS if g in present)
    n_layers = (pc.max(source["layer"]).as_py() or 0) + 1 if source.num_rows else 0
    if not impacts.num_rows:
        return Anatomy(groups, {}, n_layers)
    widest = impacts.group_by("group").aggregate([("neuron", "max")]).to_pylist()
    return Anatomy(groups, {r["group"]: r["neuron_max"] + 1 for r in widest}, n_layers)


def _set_figures(sets: pa.Table, anatomy: Anatomy, languages: tuple[str, ...]) -> SetFigures:
    group_index = {g: i for i, g in enumerate(anatomy.groups)}
    groups = np.array([group_index[g] for g in sets["group"].to_pylist()], np.int64)
    layers = np.asarray(sets["layer"], np.int64)
    neurons = np.asarray(sets["neuron"], np.int64)
    widest = int(neurons.max()) + 1 if len(neurons) else 1
    address = (groups * anatomy.n_layers + layers) * widest + neurons
    labels = list(zip(sets["kind"].to_pylist(), (v or "" for v in sets["language"].to_pylist()), strict=True))
    kinds = np.array([f"{kind}\t{language}" for kind, language in labels], object)
    counts: dict[tuple[str, str], NDArray[np.int64]] = {}
    members: dict[str, NDArray[np.int64]] = {language: np.empty(0, np.int64) for language in languages}
    for kind, language in dict.fromkeys(labels):
        mask = kinds == f"{kind}\t{language}"
        table = np.zeros((len(anatomy.groups), anatomy.n_layers), np.int64)
        np.add.at(table, (groups[mask], layers[mask]), 1)
        counts[kind, language] = table
        if kind == "related":
            members[language] = np.unique(address[mask])
    sharing = Counter(Counter(np.concatenate(list(members.values()) or [address[:0]]).tolist()).values())
    return SetFigures(
        counts=counts,
        jaccard=np.array([[_jaccard(members[a], members[b]) for b in languages] for a in languages]),
        in_exactly=tuple(sharing.get(k, 0) for k in range(1, len(languages) + 1)),
    )


def _jaccard(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    both = len(np.intersect1d(a, b, assume_unique=True))
    either = len(a) + len(b) - both
    return both / either if either else float("nan")
