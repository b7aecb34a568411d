"""Stage detection: impacts of every neuron (a unit a language), and sets selected by them. Where a rule reaches below the floor,
it detects again."""

import json
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import pyarrow as pa

from polyneuron.eval.store.units import unit_key
from polyneuron.neuron_core.common.errors import NotCertified, SetError
from polyneuron.neuron_core.impacts.detect import (
    Accumulated,
    Candidates,
    detect_language,
    detection_pass,
    merge_passes,
)
from polyneuron.neuron_core.impacts.table import LanguageImpacts
from polyneuron.neuron_core.passes.batches import MicroBatch, Sentence
from polyneuron.neuron_core.selection.grid import ImpactGrid
from polyneuron.neuron_core.selection.rules import Quantile, Rule, ScaledSigma, Sigma, TopRatio
from polyneuron.neuron_core.selection.select import Selection, select
from polyneuron.neuron_core.selection.sensitivity import sensitivity
from polyneuron.neuron_core.sets.controls import Pooled
from polyneuron.neuron_core.sets.variant_name import SHARED, VariantName, exclusive, strict_exclusive
from polyneuron.pipelines.config.study import DetectionConfig, SelectionConfig
from polyneuron.pipelines.run.ledger import Ledger, stage_unit
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.slot import Workers
from polyneuron.pipelines.run.studied_model import StudiedModel
from polyneuron.pipelines.stages.corpora import Sentences, sentences_hash
from polyneuron.pipelines.stages.variants import ControlSource, Variant, control_rows, set_rows, with_controls


def detection_units(model: StudiedModel, sentences: Sentences, config: DetectionConfig) -> dict[str, str]:
    """The unit of each language."""
    return {
        language: stage_unit(
            "detect",
            **model.deciding(),
            language=language,
            corpus=sentences_hash(read),
            groups=list(config.groups),
            mode=config.mode,
            batch_size=config.batch_size,
            floor_fraction=config.floor_fraction if config.mode == "certified" else None,
        )
        for language, read in sentences.detection.items()
    }


def detect(ledger: Ledger, sentences: Sentences, workers: Workers, config: DetectionConfig) -> dict[str, str]:
    """Measures the languages whose unit is missing; returns every language's unit.

    Raises:
        ModelError: impacts that are not finite. ClusterError: workers that cannot be kept alive.
    """
    units = detection_units(workers.model, sentences, config)
    missing = ledger.missing("detections", units.values())
    for language, unit in units.items():
        if unit in missing:
            measured = _impacts(language, sentences.detection[language], workers, config)
            ledger.put("impacts", unit, measured.impacts, language=language)
            ledger.put("detections", unit, measured.summary, language=language)
            say(f"  detected {language}: {measured.impacts.num_rows:,} neurons")
    if not missing:
        say("  detection: all languages are in the store")
    return units


def _impacts(
    language: str, sentences: Sequence[Sentence], workers: Workers, config: DetectionConfig
) -> LanguageImpacts:
    def run_pass(batches: Sequence[MicroBatch], candidates: Candidates | None) -> Accumulated:
        title = f"detecting {language}, {sum(len(batch.sentences) for batch in batches)} sentences"
        by_rank = workers.run(title, detection_pass, batches, groups=config.groups, candidates=candidates)
        return merge_passes(by_rank)

    return detect_language(
        run_pass,
        sentences,
        config.groups,
        mode=config.mode,
        batch_size=config.batch_size,
        floor_fraction=config.floor_fraction,
    )


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

    `n_controls`: draws of each kind of control, of the shared set and of each set of a language.
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
    sentences: Sentences,
    workers: Workers,
    *,
    detection: DetectionConfig,
    selection: SelectionConfig,
    n_controls: Mapping[str, int],
) -> Selected:
    """Measures impacts and selects sets. `floor_fraction` is doubled, at most to all neurons, until the sets are certified.

    Raises:
        SetError: the impacts cannot answer the rule. ModelError, ClusterError: as `detect`.
    """
    rule = rule_of(selection)
    for measured in with_lower_floors(detection, selection):
        units = list(detect(ledger, sentences, workers, measured).values())
        impacts, summaries = ledger.read("impacts", units), ledger.read("detections", units)
        try:
            sets = select(impacts, summaries, rule, sentences.languages, ledger.model)
        except NotCertified as error:
            refused = error
            say(f"  the rule selects what floor_fraction={measured.floor_fraction:g} does not prove")
            ledger.dismiss("detections", units)
            continue
        name, unit = selection_name_and_unit(rule, n_controls, units)
        pooled = ImpactGrid(impacts, summaries, sets.languages, ledger.model).pooled()
        selected = Selected(sets, tuple(_variants(sets, pooled, n_controls)), name, unit)
        if not ledger.done("selections", unit):
            band = sensitivity(impacts, summaries, rule, sets.languages, ledger.model)
            _store(ledger, selected, band)
        sizes = ", ".join(f"{language} {len(own)}" for language, own in sets.exclusive.items())
        say(f"  selected {len(sets.shared)} shared neurons; exclusive: {sizes}")
        return selected
    raise SetError(f"{refused.message}. Set detection.mode=full")


def _store(ledger: Ledger, selected: Selected, band: pa.Table) -> None:
    sets, unit, where = selected.selection, selected.unit, {"selection": selected.name}
    row = {
        "rule_json": json.dumps(sets.describe(), sort_keys=True),
        "thresholds_json": json.dumps(dict(sets.thresholds), sort_keys=True),
        "n_neurons": sets.n_measured,
    }
    named = [(variant.name, variant.neurons) for variant in selected.variants]
    named += [(VariantName(kind="related", language=of), found) for of, found in sets.related.items()]
    ledger.put("controls", unit, control_rows(selected.name, selected.variants), **where)
    ledger.put("neuron_sets", unit, set_rows(selected.name, named), **where)
    ledger.put("sensitivity", unit, band, **where)
    ledger.put("selections", unit, [row], **where)


def _variants(sets: Selection, pooled: Pooled, n_controls: Mapping[str, int]) -> Iterator[Variant]:
    outside = reduce(operator.or_, sets.related.values(), sets.shared)
    source = ControlSource(n_draws=n_controls["shared"], outside=outside, pooled=pooled)
    yield from with_controls(SHARED, sets.shared, source)
    for named, of_kind in ((exclusive, sets.exclusive), (strict_exclusive, sets.strict_exclusive)):
        for language, own in of_kind.items():
            source = ControlSource(
                n_draws=n_controls["exclusive"],
                outside=outside,
                pooled=pooled,
                others=reduce(operator.or_, (of_kind[code] for code in of_kind if code != language), own),
                measured_in=language,
            )
            yield from with_controls(named(language), own, source)
