"""Reads a store into the few small arrays the report draws from, one `ShownStudy` per model."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyneuron.eval.neurons.packed import packed_pages
from polyneuron.eval.report.numbers.curves import Curves, read_curves
from polyneuron.eval.report.numbers.methods import OtherMethods, other_methods
from polyneuron.eval.report.numbers.training import ShownTraining, trainings_of
from polyneuron.eval.report.numbers.units import Row, StudiedTables, studies_of
from polyneuron.eval.report.numbers.variants import Variants, variants_of
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.sets.variant_name import CONTROL_KINDS


@dataclass(frozen=True, slots=True)
class ShownAnatomy:
    """Neurons per layer of each measured group. ``widths`` is empty when the store has no impacts."""

    groups: tuple[str, ...]
    widths: Mapping[str, int]
    n_layers: int

    @property
    def n_neurons(self) -> int | None:
        """All measured neurons of the model, where that is known."""
        return sum(self.widths.values()) * self.n_layers or None


@dataclass(frozen=True, slots=True)
class SetFigures:
    """``counts[kind, language]``: neurons per [group, layer], of every kind and every language of the study; language is "" for
    the shared set. ``jaccard`` [L, L] between related sets; ``in_exactly[k - 1]``: neurons in exactly k related sets."""

    counts: Mapping[tuple[str, str], NDArray[np.int64]]
    jaccard: NDArray[np.float64]
    in_exactly: tuple[int, ...]

    def total(self, kind: str, language: str = "") -> int:
        """How many neurons a set has; 0 for one that is empty or not stored."""
        return int(self.counts[kind, language].sum()) if (kind, language) in self.counts else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Members:
    """The neurons that any language needs, ``N`` of them, in the order of group, layer and index."""

    groups: NDArray[np.int64]
    """The place of the group among those measured, [N]."""
    layers: NDArray[np.int64]
    """The layer, [N]."""
    neurons: NDArray[np.int64]
    """The index in its layer and group, [N]."""
    needed: NDArray[np.bool_]
    """Whether each language needs it, [L, N]."""

    def exclusive(self, language: int) -> NDArray[np.bool_]:
        """Which a language needs but not every language (Eq. 3), [N]."""
        return np.asarray(self.needed[language] & ~self.needed.all(axis=0))

    def per_place(self, chosen: NDArray[np.bool_], n_groups: int, n_layers: int) -> NDArray[np.int64]:
        """How many of the chosen lie in each [group, layer]."""
        found = np.zeros((n_groups, n_layers), np.int64)
        np.add.at(found, (self.groups[chosen], self.layers[chosen]), 1)
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownStudy:
    """All that a report shows of one model."""

    model: str
    """Its name."""
    selection: str
    """The name of the selection that all sets are of."""
    rule: Row
    """The selection's rule as stored."""
    thresholds: Mapping[str, float]
    """The rule's threshold by group, where it has one."""
    languages: tuple[str, ...]
    """Every language of the study, the paper's six first."""
    anatomy: ShownAnatomy
    """What was measured."""
    sets: SetFigures
    """Sizes and overlaps of the sets."""
    members: Members
    """The neurons themselves."""
    pages: Mapping[str, Any]
    """What the pages of these neurons show, as `packed_pages` gives it."""
    variants: Variants
    """The base model, each set switched off, random draws and trained variants, with their held-out losses."""
    rows: Mapping[str, list[Row]]
    """Rows of the tables metrics, sensitivity, noise_floor, detections, corpora, scores and verdicts, by table."""
    curves: Curves | str
    """Set sizes over the threshold, or why they are not known."""
    other_selections: tuple[str, ...] = ()
    """Names of the model's selections that are stored but not shown."""
    trainings: tuple[ShownTraining, ...] = ()
    """What was trained."""
    others: OtherMethods | None = None
    """What detectors found in activations."""
    run_status: str = "finished"
    """How the newest run of it ended, as in the table runs."""

    def detection_tokens(self) -> dict[str, float]:
        """Mean tokens of the windows or sentences in which each language's neurons were found, where that is stored."""
        return {
            row["language"]: row["n_tokens_detection"] / row["n_detection"]
            for row in self.rows["corpora"]
            if row["n_detection"]
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report shows: ``runs``, rows of the table from the oldest on, and the study of each model."""

    runs: list[Row]
    studies: tuple[ShownStudy, ...]


def read_report(store: Store, run: str | None = None) -> Report:
    """The units of work that ``run`` lists in the table studies; None: see `studies_of`. Raises StoreError when no run reached a
    selection."""
    runs = sorted(store.read("runs").to_pylist(), key=lambda r: (str(r["started_at"]), r["run_id"]))
    return Report(runs, tuple(_read_study(tables, runs) for tables in studies_of(store, runs, run)))


def _read_study(tables: StudiedTables, runs: list[Row]) -> ShownStudy:
    chosen = tables.chosen()
    selection = chosen["selection"]
    rule = json.loads(chosen["rule_json"] or "{}")
    stored = json.loads(chosen["thresholds_json"] or "{}")
    thresholds = {group: float(value) for group, value in stored.items() if value is not None}
    detections, impacts = tables.read("detections"), tables.read("impacts")
    sets = tables.read("neuron_sets", selection)
    sets = sets.filter(pc.invert(pc.is_in(sets["kind"], pa.array(CONTROL_KINDS))))
    rows = {name: tables.read(name).to_pylist() for name in ("corpora", "noise_floor", "scores", "verdicts")}
    rows |= {name: tables.read(name, selection).to_pylist() for name in ("metrics", "sensitivity")}
    languages = _languages(*detections["language"].to_pylist(), *(row["language"] for row in rows["corpora"]))
    rows["corpora"].sort(key=lambda row: languages.index(row["language"]))
    anatomy = _anatomy(impacts, sets)
    members = _members(sets, anatomy.groups, languages)
    return ShownStudy(
        model=tables.model,
        selection=selection,
        rule=rule,
        thresholds=thresholds,
        languages=languages,
        anatomy=anatomy,
        sets=_set_figures(sets, anatomy, languages),
        members=members,
        pages=packed_pages(tables, impacts, members, anatomy.groups, languages),
        variants=variants_of(tables.read("perplexities", selection), tables.read("controls", selection)),
        rows=rows | {"detections": detections.to_pylist()},
        curves=read_curves(impacts, detections, sets, languages, rule, thresholds=thresholds),
        other_selections=tables.other_selections(selection),
        trainings=trainings_of(
            tables.read("training").to_pylist(), tables.read("validations").to_pylist(), runs, languages
        ),
        others=other_methods(tables, sets, languages, anatomy.n_layers),
        run_status=next((str(row["status"]) for row in runs if row["run_id"] == tables.run), "unknown"),
    )


def _languages(*codes: str) -> tuple[str, ...]:
    """Each once, the paper's six first."""
    paper = {code: i for i, code in enumerate(("en", "zh", "th", "sw", "fr", "de"))}
    return tuple(sorted(set(codes), key=lambda code: (paper.get(code, len(paper)), code)))


def _anatomy(impacts: pa.Table, sets: pa.Table) -> ShownAnatomy:
    source = impacts if impacts.num_rows else sets
    present = set(pc.unique(source["group"]).to_pylist())
    groups = tuple(g for g in GROUPS if g in present)
    n_layers = (pc.max(source["layer"]).as_py() or 0) + 1 if source.num_rows else 0
    widest = impacts.group_by("group").aggregate([("neuron", "max")]).to_pylist()
    return ShownAnatomy(groups, {r["group"]: r["neuron_max"] + 1 for r in widest}, n_layers)


def _set_figures(sets: pa.Table, anatomy: ShownAnatomy, languages: Sequence[str]) -> SetFigures:
    kinds = [(kind, code) for kind in ("exclusive", "strict_exclusive", "related") for code in languages]
    shape = len(anatomy.groups), anatomy.n_layers
    counts = {key: np.zeros(shape, np.int64) for key in [("shared", ""), *kinds]}
    by = ["kind", "language", "group", "layer"]
    for row in sets.group_by(by).aggregate([([], "count_all")]).to_pylist():
        table = counts.setdefault((row["kind"], row["language"] or ""), np.zeros(shape, np.int64))
        table[anatomy.groups.index(row["group"]), row["layer"]] = row["count_all"]
    related = sets.filter(pc.equal(sets["kind"], "related"))
    groups = np.array([anatomy.groups.index(group) for group in related["group"].to_pylist()], np.int64)
    layers, neurons = (np.asarray(related[name], np.int64) for name in ("layer", "neuron"))
    address = (groups * anatomy.n_layers + layers) * (int(neurons.max(initial=0)) + 1) + neurons
    owners = np.array(related["language"].to_pylist(), object)
    members = {code: np.unique(address[owners == code]) for code in languages}
    together = np.concatenate([address[:0], *members.values()])
    sharing = Counter(np.unique(together, return_counts=True)[1].tolist())
    return SetFigures(
        counts=counts,
        jaccard=np.array([[_jaccard(members[a], members[b]) for b in languages] for a in languages]),
        in_exactly=tuple(sharing.get(k, 0) for k in range(1, len(languages) + 1)),
    )


def _jaccard(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / (len(a) + len(b) - both) if len(a) + len(b) else float("nan")


def _members(sets: pa.Table, groups: Sequence[str], languages: Sequence[str]) -> Members:
    """From rows of the table neuron_sets, of which the related sets are read."""
    related = sets.filter(pc.equal(sets["kind"], "related"))
    place = {group: i for i, group in enumerate(groups)}
    columns = np.array(
        [
            np.array([place[group] for group in related["group"].to_pylist()], np.int64),
            np.asarray(related["layer"], np.int64),
            np.asarray(related["neuron"], np.int64),
        ]
    )
    found, where = np.unique(columns, axis=1, return_inverse=True)
    needed = np.zeros((len(languages), found.shape[1]), np.bool_)
    owners = np.array(related["language"].to_pylist(), object)
    for i, code in enumerate(languages):
        needed[i, where.ravel()[owners == code]] = True
    return Members(groups=found[0], layers=found[1], neurons=found[2], needed=needed)
