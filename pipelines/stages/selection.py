"""From impacts to sets: the second half of the stage detection, which detects again where a rule reaches below the floor."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from polyneuron.eval.store.units import unit_key
from polyneuron.neuron_core.common.errors import NotCertified, SetError
from polyneuron.neuron_core.selection.rules import Quantile, Rule, ScaledSigma, Sigma, TopRatio
from polyneuron.neuron_core.selection.select import Selection, select
from polyneuron.neuron_core.selection.sensitivity import sensitivity
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.variant_name import SHARED, VariantName, exclusive
from polyneuron.pipelines.config.study import AblationConfig, DetectionConfig, SelectionConfig
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.sentences import Sentences
from polyneuron.pipelines.run.slot import Workers
from polyneuron.pipelines.run.studied_model import StudiedModel
from polyneuron.pipelines.stages.detection import detect
from polyneuron.pipelines.stages.variants import Variant, set_rows, with_controls


@dataclass(frozen=True)
class Selected:
    """The sets that a rule selects, and the variants in which one of them is switched off."""

    selection: Selection
    variants: tuple[Variant, ...]
    name: str
    """What the selection is called in the store."""
    unit: str
    """Its unit in the table selections."""


def rule_of(config: SelectionConfig) -> Rule:
    """The rule that a configuration names."""
    if config.rule == "scaled_sigma":
        return ScaledSigma(config.sigma, config.target_shared, config.per_token, config.share)
    if config.rule == "sigma":
        assert config.sigma is not None
        return Sigma(config.sigma, config.per_token, config.share)
    if config.rule == "quantile":
        return Quantile(config.fraction, config.per_token, config.share)
    return TopRatio(config.ratio)


def selection_name_and_unit(
    rule: Rule, n_controls: Mapping[str, int], detections: Iterable[str]
) -> tuple[str, str]:
    """What the selection by `rule` from these units of impacts is called in the store, and its unit.

    `n_controls`: random controls of the shared set and of each exclusive set.
    """
    unit = unit_key(
        stage="select", detections=list(detections), rule=rule.describe(), controls=dict(n_controls)
    )
    return f"{rule.name}-{unit[:8]}", unit


def with_lower_floors(detection: DetectionConfig, selection: SelectionConfig) -> Iterator[DetectionConfig]:
    """What to measure in turn: each floor twice the one before, the last covering every neuron.

    A share below 1 is answered from values that only measured neurons have, so it starts with the last.
    """
    fraction = detection.floor_fraction if selection.share == 1 else 1.0
    while fraction < 1:
        yield detection.model_copy(update={"floor_fraction": fraction})
        fraction *= 2
    yield detection.model_copy(update={"floor_fraction": 1.0})


def detect_and_select(
    ledger: Ledger,
    model: StudiedModel,
    sentences: Sentences,
    workers: Workers,
    *,
    detection: DetectionConfig,
    selection: SelectionConfig,
    ablation: AblationConfig,
) -> Selected:
    """Measures impacts and selects sets. `floor_fraction` is doubled, at most to all neurons, until the sets are certified.

    Raises:
        SetError: the impacts cannot answer the rule. ModelError, ClusterError: as `detect`.
    """
    rule, n_controls = rule_of(selection), ablation.n_controls
    for measured in with_lower_floors(detection, selection):
        units = list(detect(ledger, model, sentences, workers, measured).values())
        impacts, summaries = ledger.read("impacts", units), ledger.read("detections", units)
        try:
            sets = select(impacts, summaries, rule, sentences.languages, model.label)
        except NotCertified as error:
            refused = error
            say(f"  the rule selects what floor_fraction={measured.floor_fraction:g} does not prove")
            ledger.dismiss("detections", units)
            continue
        name, unit = selection_name_and_unit(rule, n_controls, units)
        selected = Selected(sets, tuple(_variants(sets, n_controls)), name, unit)
        if not ledger.done("selections", unit):
            _store(ledger, selected, impacts, summaries)
        sizes = ", ".join(f"{language} {len(own)}" for language, own in sets.exclusive.items())
        say(f"  selected {len(sets.shared)} shared neurons; exclusive: {sizes}")
        return selected
    raise SetError(f"{refused.message}. Set detection.mode=full")


def _store(ledger: Ledger, selected: Selected, impacts: pa.Table, summaries: pa.Table) -> None:
    sets, unit, name = selected.selection, selected.unit, selected.name
    band = sensitivity(impacts, summaries, sets.rule, sets.languages, ledger.model)
    row = {
        "rule_json": json.dumps(sets.describe(), sort_keys=True),
        "thresholds_json": json.dumps(dict(sets.thresholds), sort_keys=True),
        "n_neurons": sets.n_measured,
    }
    ledger.put("neuron_sets", unit, set_rows(name, _all_sets(selected)), selection=name)
    ledger.put("sensitivity", unit, band, selection=name)
    ledger.put("selections", unit, [row], selection=name)


def _variants(selection: Selection, n_controls: Mapping[str, int]) -> Iterator[Variant]:
    outside = selection.shared
    for related in selection.related.values():
        outside = outside | related
    yield from with_controls(SHARED, selection.shared, outside, n_controls["shared"])
    for language, own in selection.exclusive.items():
        yield from with_controls(exclusive(language), own, outside, n_controls["exclusive"])


def _all_sets(selected: Selected) -> Iterator[tuple[VariantName, NeuronSet]]:
    for variant in selected.variants:
        assert variant.neurons is not None
        yield variant.name, variant.neurons
    for language, related in selected.selection.related.items():
        yield VariantName(kind="related", language=language), related
    for language, strict in selected.selection.strict_exclusive.items():
        yield VariantName(kind="strict_exclusive", language=language), strict
