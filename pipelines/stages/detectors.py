"""What detectors find in activation statistics, and how it overlaps with the sets of impacts: part of the stage activations."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polyneuron.neuron_core.activations.names import Site
from polyneuron.neuron_core.detectors.names import DetectorName
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.variant_name import VariantName
from polyneuron.pipelines.run.ledger import Ledger, stage_unit
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.stages.activations import stored_activations
from polyneuron.pipelines.stages.selection import Selected
from polyneuron.pipelines.stages.variants import Variant, set_rows, with_controls

if TYPE_CHECKING:
    from polyneuron.neuron_core.detectors.detector import Detected, Detector

IMPACT_METHODS = ("impact_related", "impact_exclusive")
"""Under these names the table set_overlaps has the sets of the impact selection."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectedSets:
    """What one detector found."""

    detector: DetectorName
    """What found it."""
    name: str
    """The selection under which sets and perplexities are stored."""
    unit: str
    """Its unit in the table detectors."""
    sets: dict[str, NeuronSet]
    """What it found, by language."""
    variants: tuple[Variant, ...]
    """Each set switched off, and its random controls."""


def detectors_of(names: Sequence[DetectorName]) -> tuple[Detector, ...]:
    """The detectors that a configuration names, with their published constants."""
    from polyneuron.neuron_core.detectors.act_prob import ActProb, ActProbPooled
    from polyneuron.neuron_core.detectors.lape import Lape

    known: tuple[type[Lape] | type[ActProb] | type[ActProbPooled], ...] = (Lape, ActProb, ActProbPooled)
    by_name = {kind.name: kind for kind in known}
    return tuple(by_name[name]() for name in names)


def find_sets(
    ledger: Ledger,
    languages: Sequence[str],
    detectors: Sequence[DetectorName],
    *,
    site: Site,
    activations: str,
    n_controls: int,
) -> list[DetectedSets]:
    """Stores what each detector finds in the statistics at `site`, which are the unit `activations`."""
    table = stored_activations(ledger, site, activations)
    found = []
    for detector in detectors_of(detectors):
        detected = detector.detect(table, languages)
        unit = stage_unit(
            "detectors", activations=activations, detector=detector.describe(), controls=n_controls
        )
        found.append(
            DetectedSets(
                detector=detector.name,
                name=f"{detector.name}-{unit[:8]}",
                unit=unit,
                sets=dict(detected.sets),
                variants=tuple(_variants(detected, n_controls)),
            )
        )
        if not ledger.done("detectors", unit):
            _store(ledger, detected, found[-1], site, activations)
        sizes = ", ".join(f"{language} {len(neurons)}" for language, neurons in detected.sets.items())
        say(f"  {detector.name} found {sizes}")
    return found


def store_overlaps(ledger: Ledger, selected: Selected, found: Sequence[DetectedSets]) -> None:
    """Stores how the detectors' sets overlap with each other and with the selection's."""
    from polyneuron.neuron_core.sets.overlap import overlap_table, overlaps

    by_detector = {each.detector: each.sets for each in found}
    unit = stage_unit("overlaps", selection=selected.unit, detectors=[each.unit for each in found])
    if ledger.done("set_overlaps", unit):
        return
    selection = selected.selection
    methods = dict(zip(IMPACT_METHODS, (selection.related, selection.exclusive), strict=True))
    rows = overlaps(methods | by_detector)
    # the exclusive sets are part of the related ones, so their overlap says nothing
    table = overlap_table(row for row in rows if (row.method_a, row.method_b) != IMPACT_METHODS)
    ledger.put("set_overlaps", unit, table, selection=selected.name)


def _variants(detected: Detected, n_controls: int) -> Iterator[Variant]:
    for language, neurons in detected.sets.items():
        name = VariantName(kind="detected", detector=detected.detector.name, language=language)
        yield from with_controls(name, neurons, detected.everything, n_controls)


def _store(ledger: Ledger, detected: Detected, found: DetectedSets, site: Site, activations: str) -> None:
    any_set = next(iter(found.sets.values()))
    thresholds = {
        name: value if math.isfinite(value) else None for name, value in detected.thresholds.items()
    }
    row = {
        "detector": found.detector,
        "site": site,
        "activations": activations,
        "rule_json": json.dumps(detected.detector.describe(), sort_keys=True),
        "thresholds_json": json.dumps(thresholds, sort_keys=True),
        "n_neurons": any_set.n_layers * any_set.widths["ffn"],
    }
    rows = set_rows(found.name, ((v.name, v.neurons) for v in found.variants if v.neurons is not None))
    ledger.put("neuron_sets", found.unit, rows, selection=found.name)
    ledger.put("detectors", found.unit, [row], selection=found.name)
