"""The part on masked continual pretraining: what was trained, Table 1, other languages, losses."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from polyneuron.eval.report.charts.training import curve_legend, loss_curves, validated_in
from polyneuron.eval.report.numbers.benchmarks import Results
from polyneuron.eval.report.numbers.effects import ALPHA, Effect, Effects
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.trained_effects import TrainedEffects
from polyneuron.eval.report.numbers.training import (
    RANDOM,
    ShownTraining,
    several_seeds,
    trained_languages,
    twin_of,
)
from polyneuron.eval.report.numbers.units import Row
from polyneuron.eval.report.sections.benchmarks import (
    MARKS,
    introduction,
    plain_points,
    shown_benchmark,
    signed_points,
)
from polyneuron.eval.report.sections.perplexity import shade
from polyneuron.eval.report.sections.trained_table import Form, TrainedOutcome, trained_grids
from polyneuron.eval.report.words.wording import (
    DASH,
    count,
    fine_times,
    language_name,
    languages,
    number,
    percent,
)
from polyneuron.eval.tables.grid import Cell, Grid, grid, line
from polyneuron.eval.verdicts.verdict import BETTER, WORSE

_FEW = 12
"""So many variants are listed at once; more only when asked for."""
_UNTRAINED = "no random neurons trained"


def training_part(
    study: ShownStudy, effects: Effects | None, changed: TrainedEffects, results: Results | None
) -> dict[str, Any]:
    """``changed``: what training did, of ``effects``; ``results``: the trained part of the benchmark results, where there are
    any."""
    trainings = study.trainings
    validated = validated_in(trainings, study.languages)
    corpora = dict.fromkeys(name for training in trainings for name in training.corpora)
    return {
        "trainings": trainings,
        "languages": trained_languages(trainings),
        "only_embedded": all(training.only_embedded for training in trainings),
        "corpora": list(corpora),
        "table": trained_grid(study),
        "few": len(trainings) <= _FEW,
        "reasons": list(dict.fromkeys((training.label, training.reason) for training in trainings)),
        "random": any(training.strategy == RANDOM for training in trainings),
        "fewer": [
            (twin.name, twin.n_neurons, training.n_neurons)
            for training in trainings
            if (twin := twin_of(trainings, training)) and twin.n_neurons < training.n_neurons
        ],
        "other_selection": _other_selection(study),
        "benchmarks": _benchmarks(results.real, trainings)
        if results and results.real.rows() and results.changed
        else None,
        "samples": bool(results and results.changed and results.samples),
        "perplexity": _perplexity(study, effects, changed),
        "curves": loss_curves(trainings, study.languages),
        "legend": curve_legend(trainings),
        "validation": bool(validated),
    }


def trained_grid(study: ShownStudy) -> Grid:
    """What was trained, with the share of all weights where the whole model was trained too, whose weights are all of them."""
    seeds, total = several_seeds(study.trainings), study.anatomy.n_neurons
    everything = next((t.n_trainable for t in study.trainings if t.strategy == "full"), None)
    kept = any(training.kept is not None for training in study.trainings)
    heads = ["trained", "neurons", "of measured", "trained numbers", *["of all weights"] * bool(everything)]
    heads += ["steps", "tokens", "loss, first to last", *["kept step"] * kept]
    rows = []
    for training in study.trainings:
        n = training.n_neurons
        cells = [
            count(n) if n else DASH,
            percent(n / total) if total and n else DASH,
            count(training.n_trainable),
            *([percent(training.n_trainable / everything)] if everything else []),
            count(training.n_steps),
            count(training.n_tokens),
            f"{number(float(training.losses[0]), 4)} to {number(float(training.losses[-1]), 4)}",
            *([count(training.kept)] if kept else []),
        ]
        rows.append(line(_named(training, seeds), *cells))
    return grid("What was trained", heads, rows, tone="heat scores")


def perplexity_matrix(study: ShownStudy, effects: Effects, changed: TrainedEffects) -> Grid:
    """Multipliers of every trained variant on every language."""
    codes, seeds = [code for code in study.languages if code in effects.base], several_seeds(study.trainings)

    def cell(training: ShownTraining, language: str) -> Cell:
        own, effect = language in training.languages, changed.on_base(training, language)
        if effect is None:
            return Cell(details=("not measured",), shade=0, framed=own, tone="quiet")
        return Cell(
            text=fine_times(effect.times),
            marks=(MARKS[effect.verdict],),
            details=(f"{fine_times(effect.low)} to {fine_times(effect.high)}",),
            shade=shade(effect.times),
            framed=own,
            tone=effect.verdict if effect.verdict in (BETTER, WORSE) else "quiet",
        )

    rows = []
    for training in study.trainings:
        remark = f"for {languages(training.languages)}" + (f", seed {training.seed}" if seeds else "")
        rows.append([Cell(text=training.label, details=(remark,)), *(cell(training, code) for code in codes)])
    heads = ["trained", *map(language_name, codes)]
    title = "Perplexity multipliers of every trained variant on every language"
    return grid(title, heads, rows, tone="heat scores trained")


def perplexity_form(study: ShownStudy, effects: Effects, changed: TrainedEffects) -> Form:
    """Held-out perplexity in Table 1: ratios are averaged as logarithms, so that their mean is the geometric one."""

    def base(language: str) -> TrainedOutcome:
        unchanged = study.variants.base
        if unchanged is None or language not in effects.base:
            return TrainedOutcome(reason="not measured")
        scored = int((~np.isnan(unchanged.nll[language][1])).sum())
        return TrainedOutcome(value=math.log(effects.base[language]), n=scored)

    def measure(training: ShownTraining, language: str) -> TrainedOutcome:
        effect = changed.on_base(training, language)
        if effect is None:
            return TrainedOutcome(reason="not measured")
        return _outcome(effect, math.log(effect.ppl))

    def against(training: ShownTraining, language: str) -> TrainedOutcome:
        effect = changed.on_random(training, language)
        return TrainedOutcome(reason=_UNTRAINED) if effect is None else _outcome(effect, None)

    return Form(
        base=base,
        measure=measure,
        against=against,
        value=lambda nats: number(math.exp(nats)),
        change=lambda nats: fine_times(math.exp(nats)),
        unit="sentence",
        against_name="÷ random",
    )


def benchmark_form(results: Results, trainings: Sequence[ShownTraining], benchmark: str) -> Form:
    """Scores on one benchmark in Table 1."""

    def missing(language: str, variant: str) -> TrainedOutcome:
        stored = (benchmark, language, variant) in results.scores
        return TrainedOutcome(reason="no value, see below" if stored else "not evaluated")

    def base(language: str) -> TrainedOutcome:
        row = results.scored(benchmark, language)
        if row is None:
            return missing(language, "base")
        return TrainedOutcome(value=row["value"], low=row["low"], high=row["high"], n=row["n"])

    def measure(training: ShownTraining, language: str) -> TrainedOutcome:
        row = results.scored(benchmark, language, training.name)
        if row is None:
            return missing(language, training.name)
        return _judged(results.verdict(benchmark, language, training.name), row)

    def against(training: ShownTraining, language: str) -> TrainedOutcome:
        twin = twin_of(trainings, training)
        if twin is None:
            return TrainedOutcome(reason=_UNTRAINED)
        return _judged(results.verdict(benchmark, language, training.name, twin.name), None)

    return Form(
        base=base,
        measure=measure,
        against=against,
        value=plain_points,
        change=signed_points,
        unit="item",
        against_name="− random",
    )


def _judged(verdict: Row | None, score: Row | None) -> TrainedOutcome:
    """A stored verdict, beside the variant's own score when it is given."""
    value, n = (score["value"], score["n"]) if score else (None, 0)
    if verdict is None:
        return TrainedOutcome(value=value, n=n, reason="not compared")
    return TrainedOutcome(
        value=value,
        change=verdict["delta"],
        low=verdict["low"],
        high=verdict["high"],
        verdict=verdict["verdict"],
        n=verdict["n_pairs"],
    )


def _outcome(effect: Effect, value: float | None) -> TrainedOutcome:
    ratios = effect.times, effect.low, effect.high
    change, low, high = (math.log(ratio) if ratio > 0 else -math.inf for ratio in ratios)
    return TrainedOutcome(
        value=value, change=change, low=low, high=high, verdict=effect.verdict, n=effect.n_sentences
    )


def _benchmarks(results: Results, trainings: Sequence[ShownTraining]) -> dict[str, Any]:
    """Table 1 on each benchmark, and every trained variant in every language."""
    tables = []
    for name in results.benchmarks:
        shown = shown_benchmark(results, name, after_training=True)
        table, seeds = trained_grids(
            trainings, benchmark_form(results, trainings, name), f"{shown['title']} after training"
        )
        tables.append({"shown": shown, "table": table, "seeds": seeds})
    return {**introduction(results), "tables": tables}


def _perplexity(study: ShownStudy, effects: Effects | None, changed: TrainedEffects) -> dict[str, Any] | None:
    """None when no trained variant was measured beside the base model."""
    if effects is None or not changed.effects:
        return None
    form = perplexity_form(study, effects, changed)
    table, seeds = trained_grids(study.trainings, form, "Held-out perplexity after training")
    matrix = perplexity_matrix(study, effects, changed)
    return {"table": table, "seeds": seeds, "matrix": matrix, "n_family": changed.n_family, "alpha": ALPHA}


def _other_selection(study: ShownStudy) -> list[tuple[str, int, int]]:
    """Variants trained on sets of another size than those shown: name, its neurons, those of the set shown."""
    found = []
    for training in study.trainings:
        own = training.strategy in ("exclusive", "related") and not training.scope
        size = study.sets.total(training.strategy, training.languages[0] if own else "")
        if (own or training.strategy == "shared") and size != training.n_neurons:
            found.append((training.name, training.n_neurons, size))
    return found


def _named(training: ShownTraining, seeds: bool) -> Cell:
    name = f"{training.label}, seed {training.seed}" if seeds else training.label
    return Cell(text=name, details=(f"for {languages(training.languages)}",))
