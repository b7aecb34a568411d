"""Stage detection: impacts of every neuron (a unit a language), and sets selected by them. Where a rule or its neighbours reach
below the floor, it lowers the floor.

The noise floor needs the impacts on every single sentence, in full. Where it is measured too, one pass serves both.
"""

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
    RunPass,
    detect_language,
    detection_pass,
    merge_passes,
)
from polyneuron.neuron_core.impacts.extend import extend_language, proving_fraction
from polyneuron.neuron_core.impacts.modes import DetectionMode
from polyneuron.neuron_core.impacts.per_sentence import Measured, accumulated, sentence_pass
from polyneuron.neuron_core.impacts.schema import IMPACTS_SCHEMA, SUMMARY_SCHEMA
from polyneuron.neuron_core.impacts.table import LanguageImpacts
from polyneuron.neuron_core.model.groups import SCORE_GROUPS
from polyneuron.neuron_core.passes.batches import MicroBatch, Sentence
from polyneuron.neuron_core.selection.grid import ImpactGrid
from polyneuron.neuron_core.selection.rules import Quantile, Rule, ScaledSigma, Sigma, TopRatio
from polyneuron.neuron_core.selection.select import Selection, select_on
from polyneuron.neuron_core.selection.sensitivity import prove, sensitivity
from polyneuron.neuron_core.sets.controls import Pooled
from polyneuron.neuron_core.sets.variant_name import SHARED, exclusive, related, strict_exclusive
from polyneuron.pipelines.config.study import DetectionConfig, SelectionConfig
from polyneuron.pipelines.run.ledger import Ledger, stage_unit
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.slot import Workers
from polyneuron.pipelines.run.studied_model import StudiedModel
from polyneuron.pipelines.stages.corpora import Sentences, sentences_hash
from polyneuron.pipelines.stages.variants import ControlSource, Variant, control_rows, set_rows, with_controls

PerSentence = dict[str, list[Measured]]
"""By language, what passes of this run measured on single sentences."""
Route = tuple[float, ...]
"""Floor fractions: the one detected with, and those to which the floor was lowered since, each from the one before."""


def first_route(detection: DetectionConfig, selection: SelectionConfig) -> Route:
    """What is detected with first: all neurons where the rule's share is below 1, which is answered from values that only
    measured neurons have."""
    return (detection.floor_fraction if selection.share == 1 else 1.0,)


def lower_floors(route: Route) -> Iterator[Route]:
    """The ways on from a route: to twice, four times, … its last fraction, the last covering every neuron."""
    fraction = route[-1]
    while fraction < 1:
        fraction = min(1.0, 2 * fraction)
        yield (*route, fraction)


def sentence_bytes(model: StudiedModel, sentences: Sentences, config: DetectionConfig) -> int:
    """What the impacts of every neuron on every sentence take, in float32."""
    anatomy = model.anatomy
    n_neurons = anatomy.n_layers * sum(anatomy.widths[group] for group in config.groups)
    return 4 * n_neurons * sum(map(len, sentences.detection.values()))


def measured_mode(model: StudiedModel, sentences: Sentences, config: DetectionConfig) -> DetectionMode:
    """What is measured: everything where the noise floor asks for everything, else what the configuration says."""
    return "full" if config.wants_noise_floor(sentence_bytes(model, sentences, config)) else config.mode


def detection_units(
    model: StudiedModel, sentences: Sentences, config: DetectionConfig, route: Route | None = None
) -> dict[str, str]:
    """The unit of each language; `route` None: detected with the configuration's floor. A lowered floor is told from one that
    was detected with, since impacts may differ by rounding."""
    fractions, mode = list(route or (config.floor_fraction,)), measured_mode(model, sentences, config)
    return {
        language: stage_unit(
            "detect",
            **model.deciding(),
            language=language,
            corpus=sentences_hash(read),
            groups=list(config.groups),
            mode=mode,
            batch_size=config.batch_size,
            floor_fraction=(fractions if fractions[1:] else fractions[0]) if mode == "certified" else None,
        )
        for language, read in sentences.detection.items()
    }


def detect(
    ledger: Ledger,
    sentences: Sentences,
    workers: Workers,
    config: DetectionConfig,
    route: Route | None = None,
    *,
    kept: PerSentence | None = None,
) -> dict[str, str]:
    """Measures the languages whose unit is missing; returns every language's unit. The floor is lowered along `route` (None:
    not at all), from the units of the route without its last fraction, which must be in the store. `kept`: takes what was
    measured on single sentences, where a noise floor is measured from it afterwards.

    Raises:
        ModelError: impacts that are not finite. ClusterError: workers that cannot be kept alive.
    """
    route = route or (config.floor_fraction,)
    units = detection_units(workers.model, sentences, config, route)
    missing = ledger.missing("detections", units.values())
    mode = measured_mode(workers.model, sentences, config)
    if not config.wants_noise_floor(sentence_bytes(workers.model, sentences, config)):
        kept = None
    before = detection_units(workers.model, sentences, config, route[:-1]) if route[1:] else {}
    for language, unit in units.items():
        if unit not in missing:
            continue
        read = sentences.detection[language]
        kept_of = kept.setdefault(language, []) if kept is not None else None
        if before:
            higher = stored_impacts(ledger, language, before[language])
            measured = _lowered(higher, read, workers, config, route[-1])
            n_more = higher.n_bounded - measured.n_bounded
            said = f"lowered the floor of {language} to the largest {route[-1]:.4g}: {n_more:,} more neurons"
        else:
            measured = detect_language(
                _pass_of(workers, f"detecting {language}", config.groups, kept_of),
                read,
                config.groups,
                mode=mode,
                batch_size=config.batch_size,
                floor_fraction=route[0],
            )
            said = f"detected {language}: {measured.impacts.num_rows:,} neurons"
        ledger.put("impacts", unit, measured.impacts, language=language)
        ledger.put("detections", unit, measured.summary, language=language)
        say(f"  {said}")
    if not missing:
        say("  detection: all languages are in the store")
    return units


def stored_impacts(ledger: Ledger, language: str, unit: str) -> LanguageImpacts:
    """The impacts of one language that a unit holds."""
    impacts = ledger.read("impacts", [unit], IMPACTS_SCHEMA.names).cast(IMPACTS_SCHEMA)
    return LanguageImpacts(
        language, impacts, ledger.read("detections", [unit], SUMMARY_SCHEMA.names).cast(SUMMARY_SCHEMA)
    )


def _lowered(
    higher: LanguageImpacts,
    sentences: Sequence[Sentence],
    workers: Workers,
    config: DetectionConfig,
    floor_fraction: float,
) -> LanguageImpacts:
    return extend_language(
        _pass_of(workers, f"lowering the floor of {higher.language}", SCORE_GROUPS, None),
        sentences,
        higher,
        config.batch_size,
        floor_fraction=floor_fraction,
    )


def _pass_of(workers: Workers, doing: str, groups: Sequence[str], kept: list[Measured] | None) -> RunPass:
    def run_pass(batches: Sequence[MicroBatch], candidates: Candidates | None) -> Accumulated:
        title = f"{doing}, {sum(len(batch.sentences) for batch in batches)} texts"
        if kept is None:
            return merge_passes(
                workers.run(title, detection_pass, batches, groups=groups, candidates=candidates)
            )
        by_rank: list[Measured] = workers.run(title, sentence_pass, batches, groups=groups)
        kept.extend(by_rank)
        return merge_passes(list(map(accumulated, by_rank)))

    return run_pass


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


def detect_and_select(
    ledger: Ledger,
    sentences: Sentences,
    workers: Workers,
    *,
    detection: DetectionConfig,
    selection: SelectionConfig,
    n_controls: Mapping[str, int],
    kept: PerSentence | None = None,
) -> Selected:
    """Measures impacts and selects sets. `kept`: as `detect`. `floor_fraction` is doubled, at most to all neurons, until the
    rule and its neighbours are certified.

    Raises:
        SetError: the impacts cannot answer the rule. ModelError, ClusterError: as `detect`.
    """
    rule, route = rule_of(selection), first_route(detection, selection)
    while True:
        units = detect(ledger, sentences, workers, detection, route, kept=kept)
        impacts, summaries = (ledger.read(table, units.values()) for table in ("impacts", "detections"))
        name, unit = selection_name_and_unit(rule, n_controls, units.values())
        is_new = not ledger.done("selections", unit)
        try:
            if is_new:
                prove(impacts, summaries, rule, sentences.languages, ledger.model)
        except NotCertified as error:
            if not error.thresholds:
                raise SetError(f"{error.message}. Set detection.mode=full") from error
            say(f"  floor_fraction={route[-1]:g} does not prove the rule and its neighbours")
            route = (*route, _next_fraction(ledger, units, error, route[-1]))
            ledger.dismiss("detections", units.values())
            continue
        grid = ImpactGrid(impacts, summaries, sentences.languages, ledger.model)
        sets = select_on(grid, rule)
        selected = Selected(sets, tuple(_variants(sets, grid.pooled(), n_controls)), name, unit)
        if is_new:
            _store(ledger, selected, sensitivity(impacts, summaries, rule, sets.languages, ledger.model))
        sizes = ", ".join(f"{language} {len(own)}" for language, own in sets.exclusive.items())
        say(f"  selected {len(sets.shared)} shared neurons; exclusive: {sizes}")
        return selected


def _next_fraction(ledger: Ledger, units: Mapping[str, str], error: NotCertified, fraction: float) -> float:
    """The smallest doubling of `fraction` whose floors are at or below what the rule and its neighbours ask for."""
    asked: dict[str, dict[tuple[str, str], float]] = {}
    for (language, group, column), threshold in error.thresholds.items():
        asked.setdefault(language, {})[group, column] = threshold
    return max(
        proving_fraction(stored_impacts(ledger, language, units[language]), thresholds, fraction)
        for language, thresholds in asked.items()
    )


def _store(ledger: Ledger, selected: Selected, band: pa.Table) -> None:
    sets, unit, where = selected.selection, selected.unit, {"selection": selected.name}
    row = {
        "rule_json": json.dumps(sets.describe(), sort_keys=True),
        "thresholds_json": json.dumps(dict(sets.thresholds), sort_keys=True),
        "n_neurons": sets.n_measured,
    }
    named = [(variant.name, variant.neurons) for variant in selected.variants]
    named += [(related(of), found) for of, found in sets.related.items()]
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
