"""The part of the page on masked continual pretraining: what was trained, Table 1, other languages, losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polyneuron.eval.report.charts.training import LossCurves, curve_legend, loss_curves
from polyneuron.eval.report.numbers.benchmarks import Results
from polyneuron.eval.report.numbers.effects import Effects
from polyneuron.eval.report.numbers.study import ModelStudy
from polyneuron.eval.report.numbers.training import EMBEDDED, RANDOM, Training, Validation, several_seeds
from polyneuron.eval.report.sections.training_benchmarks import TrainedBenchmarks, trained_benchmarks
from polyneuron.eval.report.sections.training_perplexity import TrainedPerplexity, trained_perplexity
from polyneuron.eval.report.sections.training_tables import trained_languages
from polyneuron.eval.report.words.training_findings import EMBEDDED_WORDS, only_embedded
from polyneuron.eval.report.words.wording import DASH, count, language_name, listing, number, percent, plural

PAPER_WORDS = "the paper’s mixture (CulturaX, MADLAD-400 and Wikipedia)"
_FEW = 12
"""So many variants are listed at once; more only when asked for."""


@dataclass(frozen=True)
class Trained:
    """A row of the table of what was trained: ``cells`` are numbers as words."""

    strategy: str
    trained_for: str
    cells: list[str]


@dataclass(frozen=True)
class ValidationLine:
    """Per language: nats per token of the variant, before training, and after the last step where it is not that."""

    name: str
    remark: str
    cells: list[tuple[str, list[str]]]


@dataclass(frozen=True)
class TrainingSection:
    introduction: list[str]
    columns: list[str]
    trained: list[Trained]
    few: bool
    notes: list[str]
    benchmarks: TrainedBenchmarks | None
    perplexity: TrainedPerplexity | None
    curves: list[LossCurves]
    legend: list[tuple[str, str, str]]
    validated_in: list[str]
    validation: list[ValidationLine]


def training_section(
    study: ModelStudy, effects: Effects | None, results: Results | None
) -> TrainingSection | None:
    """None when nothing was trained. ``results``: the trained part of the benchmark results."""
    trainings = study.trainings
    if not trainings:
        return None
    columns, rows = _trained_table(study)
    known = {code for one in trainings for code in one.validations}
    validated = [*(code for code in study.languages if code in known), *sorted(known - set(study.languages))]
    return TrainingSection(
        introduction=_introduction(trainings),
        columns=columns,
        trained=rows,
        few=len(rows) <= _FEW,
        notes=_notes(study),
        benchmarks=trained_benchmarks(results, trainings) if results else None,
        perplexity=trained_perplexity(study, effects),
        curves=loss_curves(trainings, study.languages),
        legend=curve_legend(trainings),
        validated_in=[language_name(code) for code in validated],
        validation=_validation_lines(trainings, validated),
    )


def _introduction(trainings: Sequence[Training]) -> list[str]:
    words = [
        "Masked continual pretraining (paper A, section 4): only the chosen part of the model was trained, on ordinary "
        "documents of a language; everything else stayed as it was."
    ]
    names = listing([language_name(code) for code in trained_languages(trainings)])
    words.append(
        f"{plural(len(trainings), 'variant')} for {names}: {_each([one.n_neurons for one in trainings], 'neuron')}, "
        f"{_each([one.n_steps for one in trainings], 'step')} and "
        f"{_each([one.n_tokens for one in trainings], 'token')} each."
    )
    known = dict.fromkeys(one.corpora for one in trainings if one.corpora)
    if all(only_embedded(one) for one in trainings):
        words.append(f"{EMBEDDED_WORDS}.")
    elif known:
        corpora = [PAPER_WORDS if name == "paper" else name for name in dict.fromkeys(sum(known, ()))]
        words.append(f"Documents: {listing(corpora)}.")
        if EMBEDDED in corpora:
            words.append("Of these, the embedded sample is a few dozen texts that can teach a model nothing.")
    return words


def _each(counts: Sequence[int], one: str) -> str:
    low, high = min(counts), max(counts)
    return plural(high, one) if low == high else f"{count(low)} to {plural(high, one)}"


def _trained_table(study: ModelStudy) -> tuple[list[str], list[Trained]]:
    """The share of all weights is known where the whole model was trained too, whose weights are all of them."""
    trainings = study.trainings
    seeds = several_seeds(trainings)
    everything = next((one.n_trainable for one in trainings if one.strategy == "full"), None)
    columns = ["neurons", "of measured", "trained numbers"]
    columns += [*(["of all weights"] if everything else []), "steps", "tokens", "loss, first to last"]
    columns += ["kept step"] if any(one.kept is not None for one in trainings) else []
    rows = []
    for one in trainings:
        total = study.anatomy.n_neurons
        cells = [
            count(one.n_neurons) if one.n_neurons else DASH,
            percent(one.n_neurons / total) if total and one.n_neurons else DASH,
            count(one.n_trainable),
            *([percent(one.n_trainable / everything)] if everything else []),
            count(one.n_steps),
            count(one.n_tokens),
            f"{number(float(one.losses[0]), 4)} to {number(float(one.losses[-1]), 4)}",
        ]
        if columns[-1] == "kept step":
            cells.append(count(one.kept))
        name = f"{one.strategy}, seed {one.seed}" if seeds else one.strategy
        rows.append(Trained(name, _for_words(one), cells))
    return columns, rows


def _notes(study: ModelStudy) -> list[str]:
    """What a reader must know before comparing rows."""
    reasons = dict.fromkeys(
        one.reason if one.reason.startswith(one.strategy) else f"{one.strategy}: {one.reason}"
        for one in study.trainings
    )
    found = [f"Why these: {'; '.join(reasons)}."]
    strategies = {one.strategy for one in study.trainings}
    if RANDOM in strategies:
        found.append(
            "The random neurons are as many per layer and group as the language’s related ones, outside every "
            "language’s set."
        )
    else:
        found.append(
            "No random neurons were trained, so nothing here shows what training any neurons would have done."
        )
    others = [
        f"{one.name} ({count(one.n_neurons)} neurons, the set shown has {count(size)})"
        for one in study.trainings
        if (size := _set_size(study, one)) not in (None, one.n_neurons)
    ]
    if others:
        found.append(f"Trained on another selection than the one shown: {'; '.join(others)}.")
    stale = [one.name for one in study.trainings if one.stale_validation]
    if stale:
        found.append(
            f"Not shown, because it belongs to other trainings: stored validation of {listing(stale)}."
        )
    return found


def _set_size(study: ModelStudy, one: Training) -> int | None:
    """Of the set that a strategy trains; None where it trains no set of its own."""
    if one.strategy == "shared":
        return study.sets.total("shared")
    if one.strategy in ("exclusive", "related") and not one.scope:
        return study.sets.total(one.strategy, one.languages[0])
    return None


def _validation_lines(trainings: Sequence[Training], validated: Sequence[str]) -> list[ValidationLine]:
    seeds = several_seeds(trainings)
    return [
        ValidationLine(
            f"{one.strategy}, seed {one.seed}" if seeds else one.strategy,
            f"for {_for_words(one)}",
            [_validation_cell(one.validations.get(code)) for code in validated],
        )
        for one in trainings
        if one.validations
    ]


def _validation_cell(found: Validation | None) -> tuple[str, list[str]]:
    if found is None:
        return "", ["not validated"]
    last = int(found.steps[-1])
    kept = last if found.kept is None else found.kept
    details = [f"before: {number(found.at(0), 4)}"]
    if kept != last:
        details.append(f"after the last step: {number(found.at(last), 4)}")
    return number(found.at(kept), 4), details


def _for_words(one: Training) -> str:
    return listing([language_name(code) for code in one.languages])
