"""Stage 3: from impacts to sets. Detects again with a lower floor where the rule reaches below it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import NotCertified, SetError
from polyneuron.neuron_core.selection.rules import Quantile, Rule, ScaledSigma, Sigma, TopRatio
from polyneuron.neuron_core.selection.select import Selection, select
from polyneuron.neuron_core.selection.sensitivity import sensitivity
from polyneuron.neuron_core.sets.neuron_set import NeuronSet, matched_control
from polyneuron.neuron_core.sets.variant_name import SHARED, VariantName, exclusive
from polyneuron.pipelines.config.study import SelectionConfig, StudyConfig
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.subject import Subject
from polyneuron.pipelines.run.units import selection_unit
from polyneuron.pipelines.stages.detection import detect


@dataclass(frozen=True)
class Variant:
    """A set to deactivate."""

    name: VariantName
    neurons: NeuronSet


@dataclass(frozen=True)
class Selected:
    """What stage 3 hands on: the sets, the variants, and their unit in the store."""

    selection: Selection
    variants: tuple[Variant, ...]
    name: str
    unit: str
    detections: dict[str, str]


def rule_of(config: SelectionConfig) -> Rule:
    """The rule a configuration names."""
    if config.rule == "scaled_sigma":
        return ScaledSigma(config.sigma, config.target_shared, config.per_token, config.share)
    if config.rule == "sigma":
        assert config.sigma is not None
        return Sigma(config.sigma, config.per_token, config.share)
    if config.rule == "quantile":
        return Quantile(config.fraction, config.per_token, config.share)
    return TopRatio(config.ratio)


def floor_fractions(config: StudyConfig) -> Iterator[float]:
    """Floors to try in turn, each twice the one before, the last covering every neuron.

    A share below 1 is answered from values that only measured neurons have, so it starts with the last.
    """
    fraction = config.detection.floor_fraction if config.selection.share == 1 else 1.0
    while fraction < 1:
        yield fraction
        fraction *= 2
    yield 1.0


def detect_and_select(subject: Subject, store: Store, run_id: str) -> Selected:
    """Stages 2 and 3. `floor_fraction` is doubled, at most to all neurons, until the selection is certified.

    Raises:
        SetError: the impacts cannot answer the rule. ModelError, ClusterError: as `detect`.
    """
    rule = rule_of(subject.config.selection)
    for floor_fraction in floor_fractions(subject.config):
        detections = detect(subject, store, run_id, floor_fraction)
        impacts, summaries = _read(store, "impacts", detections), _read(store, "detections", detections)
        try:
            selection = select(impacts, summaries, rule, subject.config.languages, subject.name)
        except NotCertified as error:
            refused = error
            say(f"  the rule selects what floor_fraction={floor_fraction:g} does not prove")
            continue
        return _store(subject, store, run_id, selection, detections, impacts, summaries)
    raise SetError(f"{refused.message}. Set detection.mode=full")


def selection_name_and_unit(config: StudyConfig, detections: dict[str, str]) -> tuple[str, str]:
    """What the selection of these detections is called in the store, and its unit."""
    rule, ablation = rule_of(config.selection), config.ablation
    controls = {"shared": ablation.shared_control_seeds, "exclusive": ablation.exclusive_control_seeds}
    unit = selection_unit(list(detections.values()), rule.describe(), controls)
    return f"{rule.name}-{unit[:8]}", unit


def _read(store: Store, table: str, units: dict[str, str]) -> pa.Table:
    return store.read(table, pc.field("unit").isin(list(units.values())))


def _store(
    subject: Subject,
    store: Store,
    run_id: str,
    selection: Selection,
    detections: dict[str, str],
    impacts: pa.Table,
    summaries: pa.Table,
) -> Selected:
    ablation = subject.config.ablation
    controls = {"shared": ablation.shared_control_seeds, "exclusive": ablation.exclusive_control_seeds}
    name, unit = selection_name_and_unit(subject.config, detections)
    variants = tuple(_variants(selection, controls))
    if not store.has("selections", unit):
        where = {"model": subject.name, "selection": name}
        store.write(
            "neuron_sets", _sets_table(subject.name, name, selection, variants), unit, where, run_id=run_id
        )
        band = sensitivity(
            impacts, summaries, rule_of(subject.config.selection), subject.config.languages, subject.name
        )
        store.write("sensitivity", band, unit, where, run_id=run_id)
        row = {
            "model": subject.name,
            "selection": name,
            "rule_json": json.dumps(selection.describe(), sort_keys=True),
            "thresholds_json": json.dumps(dict(selection.thresholds), sort_keys=True),
            "n_neurons": selection.n_measured,
        }
        store.write("selections", pa.Table.from_pylist([row]), unit, where, run_id=run_id)
    sizes = ", ".join(f"{language} {len(found)}" for language, found in selection.exclusive.items())
    say(f"  selected {len(selection.shared)} shared neurons; exclusive: {sizes}")
    return Selected(selection, variants, name, unit, detections)


def _variants(selection: Selection, controls: dict[str, int]) -> Iterator[Variant]:
    everything = selection.shared
    for related in selection.related.values():
        everything = everything | related
    yield Variant(SHARED, selection.shared)
    yield from control_variants(SHARED, selection.shared, everything, controls["shared"])
    for language, own in selection.exclusive.items():
        name = exclusive(language)
        yield Variant(name, own)
        yield from control_variants(name, own, everything, controls["exclusive"])


def control_variants(
    name: VariantName, target: NeuronSet, outside: NeuronSet, n_seeds: int
) -> Iterator[Variant]:
    """Random sets matched to `target`, none where too few neurons are left outside `outside`, which is said."""
    for seed in range(n_seeds if len(target) else 0):
        try:
            drawn = matched_control(target, outside, seed)
        except SetError as error:
            say(f"  no control for {name}: {error.message}")
            return
        yield Variant(name.control(seed), drawn)


def _sets_table(model: str, name: str, selection: Selection, variants: tuple[Variant, ...]) -> pa.Table:
    sets = [(variant.name, variant.neurons) for variant in variants]
    sets += [(VariantName(kind="related", language=code), found) for code, found in selection.related.items()]
    sets += [
        (VariantName(kind="strict_exclusive", language=code), found)
        for code, found in selection.strict_exclusive.items()
    ]
    return pa.concat_tables(set_rows(model, name, variant, neurons) for variant, neurons in sets)


def set_rows(model: str, selection: str, variant: VariantName, neurons: NeuronSet) -> pa.Table:
    """A set as rows of the table neuron_sets, without run and unit."""
    rows = neurons.to_arrow().select(["layer", "group", "neuron"])
    constants: dict[str, tuple[Any, pa.DataType]] = {
        "model": (model, pa.string()),
        "selection": (selection, pa.string()),
        "kind": (variant.kind, pa.string()),
        "language": (variant.language, pa.string()),
        "seed": (variant.seed, pa.int64()),
        "variant": (str(variant), pa.string()),
    }
    for column, (value, kind_of_value) in constants.items():
        rows = rows.append_column(column, pa.array([value] * rows.num_rows, kind_of_value))
    return rows
