"""Stage 3b: what detectors find in the activation statistics, and how their sets overlap with those of impacts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.variant_name import VariantName
from polyneuron.pipelines.config.study import ActivationSite, DetectorName
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.subject import Subject
from polyneuron.pipelines.run.units import detector_unit, overlaps_unit
from polyneuron.pipelines.stages.activations import measure_activations, stored_activations
from polyneuron.pipelines.stages.selection import Selected, Variant, control_variants, set_rows

if TYPE_CHECKING:
    from polyneuron.neuron_core.detectors.detector import Detected, Detector

IMPACT_METHODS = ("impact_related", "impact_exclusive")
"""Under these names the table set_overlaps has the sets of the impact selection."""


@dataclass(frozen=True)
class DetectedSets:
    """What one detector found: its sets by language, the variants to deactivate, and their unit in the store.

    detector: lape, act_prob or act_prob_pooled. name: the selection under which sets and perplexities are stored.
    """

    detector: DetectorName
    name: str
    unit: str
    sets: dict[str, NeuronSet]
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class Detections:
    """What all detectors found, and every unit that stages 3a and 3b made or found done."""

    found: tuple[DetectedSets, ...]
    units: tuple[str, ...]


def detectors_of(names: Sequence[DetectorName]) -> tuple[Detector, ...]:
    """The detectors a configuration names, with their published constants."""
    from polyneuron.neuron_core.detectors.act_prob import ActProb, ActProbPooled
    from polyneuron.neuron_core.detectors.lape import Lape

    known: tuple[type[Lape] | type[ActProb] | type[ActProbPooled], ...] = (Lape, ActProb, ActProbPooled)
    by_name = {kind.name: kind for kind in known}
    return tuple(by_name[name]() for name in names)


def detect_by_activations(subject: Subject, store: Store, run_id: str, selected: Selected) -> Detections:
    """Measures what is missing, and stores each detector's sets and the overlaps of all methods.

    Raises:
        ModelError, CorpusError, ClusterError: as `measure_activations`.
    """
    measured = measure_activations(subject, store, run_id)
    found = find_sets(subject, store, run_id, measured)
    overlaps = _store_overlaps(subject, store, run_id, selected, found)
    return Detections(tuple(found), (*measured.values(), *(each.unit for each in found), overlaps))


def find_sets(
    subject: Subject, store: Store, run_id: str, measured: Mapping[ActivationSite, str]
) -> list[DetectedSets]:
    """Stores each detector's sets, found in the statistics of the first of `activations.sites`.

    measured: what `measure_activations` returned.
    """
    settings = subject.config.activations
    site = settings.sites[0]
    table = stored_activations(subject, store, site, measured[site])
    found = []
    for detector in detectors_of(settings.detectors):
        detected = detector.detect(table, subject.config.languages)
        unit = detector_unit(measured[site], detector.describe(), settings.controls)
        name = f"{detector.name}-{unit[:8]}"
        variants = tuple(_variants(detected, settings.controls))
        sets = dict(detected.sets)
        found.append(DetectedSets(detector.name, name, unit, sets, variants))  # type: ignore[arg-type]
        if not store.has("detectors", unit):
            _store(subject, store, run_id, detected, found[-1], site, measured[site])
        sizes = ", ".join(f"{language} {len(neurons)}" for language, neurons in sets.items())
        say(f"  {detector.name} found {sizes}")
    return found


def _variants(detected: Detected, n_controls: int) -> Iterator[Variant]:
    everything = detected.everything
    for language, neurons in detected.sets.items():
        name = VariantName(kind="detected", detector=detected.detector.name, language=language)
        yield Variant(name, neurons)
        yield from control_variants(name, neurons, everything, n_controls)


def _store(
    subject: Subject,
    store: Store,
    run_id: str,
    detected: Detected,
    found: DetectedSets,
    site: str,
    activations: str,
) -> None:
    model, where = subject.name, {"model": subject.name, "selection": found.name}
    blocks = [set_rows(model, found.name, v.name, v.neurons) for v in found.variants]
    store.write("neuron_sets", pa.concat_tables(blocks), found.unit, where, run_id=run_id)
    any_set = next(iter(found.sets.values()))
    thresholds = {
        name: value if math.isfinite(value) else None for name, value in detected.thresholds.items()
    }
    row = {
        "model": model,
        "selection": found.name,
        "detector": found.detector,
        "site": site,
        "activations": activations,
        "rule_json": json.dumps(detected.detector.describe(), sort_keys=True),
        "thresholds_json": json.dumps(thresholds, sort_keys=True),
        "n_neurons": any_set.n_layers * any_set.widths["ffn"],
    }
    # last: it marks the unit as done
    store.write("detectors", pa.Table.from_pylist([row]), found.unit, where, run_id=run_id)


def _store_overlaps(
    subject: Subject, store: Store, run_id: str, selected: Selected, found: Sequence[DetectedSets]
) -> str:
    from polyneuron.neuron_core.sets.overlap import overlap_table, overlaps

    unit = overlaps_unit(selected.unit, [each.unit for each in found])
    if store.has("set_overlaps", unit):
        return unit
    selection = selected.selection
    methods = dict(zip(IMPACT_METHODS, (selection.related, selection.exclusive), strict=True))
    rows = overlaps(methods | {each.detector: each.sets for each in found})
    # the exclusive sets are part of the related ones, so their overlap says nothing
    table = overlap_table(row for row in rows if (row.method_a, row.method_b) != IMPACT_METHODS)
    where = {"model": subject.name, "selection": selected.name}
    store.write("set_overlaps", table, unit, where, run_id=run_id)
    return unit
