"""Stage activations: statistics of every ffn neuron (a unit a site), the sets that detectors find in them, and overlaps."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from polyneuron.cluster.ranks.activations import statistics_pass
from polyneuron.neuron_core.activations.names import Site
from polyneuron.neuron_core.activations.table import ActivationTable
from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.detectors.act_prob import ActProb, ActProbPooled
from polyneuron.neuron_core.detectors.detector import Detected, Detector
from polyneuron.neuron_core.detectors.lape import Lape
from polyneuron.neuron_core.detectors.names import IMPACT_METHODS, DetectorName
from polyneuron.neuron_core.passes.batches import MicroBatch, micro_batches
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.overlap import overlap_table, overlaps
from polyneuron.neuron_core.sets.variant_name import VariantName
from polyneuron.pipelines.run.ledger import Ledger, stage_unit
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.slot import Workers
from polyneuron.pipelines.stages.corpora import Sentences, sentences_hash
from polyneuron.pipelines.stages.detection import Selected
from polyneuron.pipelines.stages.variants import ControlSource, Variant, control_rows, set_rows, with_controls


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


def measure_activations(
    ledger: Ledger, sentences: Sentences, workers: Workers, sites: Sequence[Site], batch_size: int
) -> dict[Site, str]:
    """Measures the sites whose unit is missing, on the detection sentences; returns every site's unit.

    The statistics of one site, some 200 bytes for each language and neuron, are in the driver's memory at once, as
    detectors need them whole; sketches never are (`cluster.ranks.activations`). The hidden states of all languages' sentences
    wait on the workers.

    Raises:
        ModelError: an activation that is not finite. CorpusError: a language without a token to count, or with too
            many. ClusterError: workers that cannot be kept alive.
    """
    decided = workers.model.deciding() | {
        "corpora": [[language, sentences_hash(read)] for language, read in sentences.detection.items()],
        "batch_size": batch_size,
    }
    units = {site: stage_unit("activations", **decided, site=site) for site in sites}
    missing = ledger.missing("activations", units.values())
    for site, unit in units.items():
        if unit in missing:
            table = _measured(sentences, workers, site, batch_size).to_arrow()
            ledger.put("activations", unit, table, site=site)
            n_languages = len(sentences.languages)
            say(f"  activations at {site}: {table.num_rows:,} neurons in {n_languages} languages")
    if not missing:
        say("  activations: all statistics are in the store")
    return units


def stored_activations(ledger: Ledger, site: Site, unit: str) -> ActivationTable:
    """The statistics of a finished unit."""
    return ActivationTable.from_arrow(ledger.read("activations", [unit], site=site))


def _measured(sentences: Sentences, workers: Workers, site: Site, batch_size: int) -> ActivationTable:
    batches: list[MicroBatch] = []
    for language, read in sentences.detection.items():
        if not any(sentence.n_scored for sentence in read):
            raise CorpusError(f"The corpus of {language!r} has no token to count; give it longer sentences")
        batches += micro_batches(read, batch_size)
    title = f"activations at {site}, {sum(len(batch.sentences) for batch in batches)} sentences"
    by_rank = workers.run(title, statistics_pass, batches, languages=sentences.languages, site=site)
    layers = {layer: statistics for rank in by_rank for layer, statistics in rank.items()}
    in_order = [layers[layer] for layer in sorted(layers)]
    return ActivationTable.build(workers.model.label, site, sentences.languages, in_order)


def detectors_of(names: Sequence[DetectorName]) -> tuple[Detector, ...]:
    """The detectors that a configuration names, with their published constants."""
    known: tuple[type[Lape] | type[ActProb] | type[ActProbPooled], ...] = (Lape, ActProb, ActProbPooled)
    by_name = {kind.name: kind for kind in known}
    return tuple(by_name[name]() for name in names)


def find_sets(
    ledger: Ledger,
    languages: Sequence[str],
    detectors: Sequence[DetectorName],
    measured: tuple[Site, str],
    n_controls: int,
) -> list[DetectedSets]:
    """Stores what each detector finds in the statistics of a site; `measured`: the site and its unit."""
    site, activations = measured
    table, found = stored_activations(ledger, site, activations), list[DetectedSets]()
    for detector in detectors_of(detectors):
        described = detector.describe()
        unit = stage_unit("detectors", activations=activations, detector=described, controls=n_controls)
        detected = detector.detect(table, languages)
        sets = DetectedSets(
            detector=detector.name,
            name=f"{detector.name}-{unit[:8]}",
            unit=unit,
            sets=dict(detected.sets),
            variants=tuple(_variants(detected, n_controls)),
        )
        found.append(sets)
        if not ledger.done("detectors", unit):
            any_set = next(iter(sets.sets.values()))
            thresholds = {k: v if math.isfinite(v) else None for k, v in detected.thresholds.items()}
            row = {
                "detector": detector.name,
                "site": site,
                "activations": activations,
                "rule_json": json.dumps(described, sort_keys=True),
                "thresholds_json": json.dumps(thresholds, sort_keys=True),
                "n_neurons": any_set.n_layers * any_set.widths["ffn"],
            }
            switched_off = set_rows(sets.name, ((v.name, v.neurons) for v in sets.variants))
            ledger.put("neuron_sets", unit, switched_off, selection=sets.name)
            ledger.put("controls", unit, control_rows(sets.name, sets.variants), selection=sets.name)
            ledger.put("detectors", unit, [row], selection=sets.name)
        sizes = ", ".join(f"{language} {len(neurons)}" for language, neurons in detected.sets.items())
        say(f"  {detector.name} found {sizes}")
    return found


def store_overlaps(ledger: Ledger, selected: Selected, found: Sequence[DetectedSets]) -> None:
    """Stores how the detectors' sets overlap with each other and with the selection's."""
    unit = stage_unit("overlaps", selection=selected.unit, detectors=[each.unit for each in found])
    if ledger.done("set_overlaps", unit):
        return
    selection = selected.selection
    methods = {name: getattr(selection, kind) for name, kind in IMPACT_METHODS.items()}
    rows = overlaps(methods | {each.detector: each.sets for each in found})
    # the exclusive sets are part of the related ones, so their overlap says nothing
    table = overlap_table(row for row in rows if (row.method_a, row.method_b) != tuple(IMPACT_METHODS))
    ledger.put("set_overlaps", unit, table, selection=selected.name)


def _variants(detected: Detected, n_controls: int) -> Iterator[Variant]:
    for language, neurons in detected.sets.items():
        name = VariantName(kind="detected", detector=detected.detector.name, language=language)
        source = ControlSource(n_draws=n_controls, outside=detected.everything)
        yield from with_controls(name, neurons, source)
