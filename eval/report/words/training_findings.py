"""What training changed, in the sentences that open the page; a null result is said as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from polyneuron.eval.report.numbers.benchmarks import BASE, SAMPLE, Results, points
from polyneuron.eval.report.numbers.effects import Effect, Effects
from polyneuron.eval.report.numbers.study import ModelStudy, Row
from polyneuron.eval.report.numbers.training import (
    EMBEDDED,
    RANDOM,
    STRATEGIES,
    Training,
    several_seeds,
    twin_of,
)
from polyneuron.eval.report.sections.training_perplexity import against_random, verdict_of
from polyneuron.eval.report.words.benchmark_findings import tally_words
from polyneuron.eval.report.words.benchmark_words import SAMPLE_WORDS
from polyneuron.eval.report.words.findings import Finding
from polyneuron.eval.report.words.wording import count, fine_times, language_name, listing, number, plural

_MOST_SENTENCES = 3
EMBEDDED_WORDS = (
    "The documents are the embedded sample, a few dozen texts that can teach a model nothing: the run shows that "
    "the machinery works, and no gain or loss here says what training does"
)


def training_findings(study: ModelStudy, effects: Effects | None, results: Results | None) -> list[Finding]:
    """On held-out perplexity, and on benchmarks. ``results``: the trained part, None where nothing was scored."""
    chosen = [one for one in study.trainings if one.strategy != RANDOM] or list(study.trainings)
    found = [_perplexity(study, effects, chosen)]
    if results is None or not results.changed:
        last = found[-1]
        no_scores = f"{last.evidence} No trained variant was put to a benchmark."
        found[-1] = Finding(last.headline, no_scores.strip(), last.tone)
    else:
        found.append(_benchmarks(study, results, chosen))
    if all(only_embedded(one) for one in study.trainings):
        evidence = " ".join(f"{finding.headline} {finding.evidence}" for finding in found)
        return [Finding("Training shows mechanics here, not gains.", f"{EMBEDDED_WORDS}. {evidence}", "note")]
    return found


def only_embedded(one: Training) -> bool:
    return one.corpora == (EMBEDDED,)


def what_was_done(one: Training, seeds: bool) -> str:
    """``Training the shared neurons for Swahili``."""
    what = STRATEGIES.get(one.strategy, one.strategy)
    seed = f" (seed {one.seed})" if seeds else ""
    return f"Training {what} for {listing([language_name(code) for code in one.languages])}{seed}"


def _perplexity(study: ModelStudy, effects: Effects | None, chosen: list[Training]) -> Finding:
    measured = [
        (one, code, effect)
        for one in chosen
        for code in one.languages
        if effects is not None and (effect := effects.of(one.name, code)) is not None
    ]
    if effects is None or not measured:
        return Finding(
            "What training did to held-out perplexity was not measured.",
            "The store holds no perplexity of a trained variant beside the unchanged model’s.",
            "note",
        )
    seeds = several_seeds(study.trainings)
    parts = [
        f"{what_was_done(one, seeds)} changed held-out perplexity in {language_name(code)} by {_interval(effect)}."
        for one, code, effect in measured[:_MOST_SENTENCES]
    ]
    if len(measured) > _MOST_SENTENCES:
        parts.append(f"{count(len(measured) - _MOST_SENTENCES)} more under Training.")
    twins = [effect for one, code, _ in measured if (effect := against_random(study, one, code)) is not None]
    parts.append(
        f"Against random neurons trained alike: {_tally(twins)}."
        if twins
        else "No random neurons were trained for comparison."
    )
    parts += _elsewhere(chosen, effects)
    verdicts = Counter(verdict_of(effect) for *_, effect in measured)
    return _headed("Training, held-out perplexity", verdicts, "no change is shown", parts)


def _elsewhere(chosen: list[Training], effects: Effects) -> list[str]:
    """What became of the languages that were not trained."""
    others = [
        (one, code, effect)
        for one in chosen
        for code, effect in effects.by.get(one.name, {}).items()
        if code not in one.languages
    ]
    if not others:
        return []
    words = f"In languages not trained for: {_tally([effect for *_, effect in others])}"
    one, code, worst = max(others, key=lambda found: found[2].times)
    if verdict_of(worst) == "worse":
        words += f", the worst {_interval(worst)} in {language_name(code)} ({one.name})"
    return [f"{words}."]


def _benchmarks(study: ModelStudy, results: Results, chosen: list[Training]) -> Finding:
    rows = _verdicts(results, chosen)
    if {row["data"] for row in results.rows()} - {"none"} == {SAMPLE}:
        return Finding(
            "The benchmark scores of trained variants are no finding.", f"The items {SAMPLE_WORDS}.", "note"
        )
    parts = [f"On the languages trained for, over {plural(len(rows), 'comparison')}: {tally_words(rows)}."]
    widths = [(row["high"] - row["low"]) / 2 for row in rows if None not in (row["low"], row["high"])]
    if widths:
        reach = number(points(float(np.median(widths))), 2)
        parts.append(f"The intervals reach {reach} points to each side (median).")
    against = [
        verdict
        for one in chosen
        if (twin := twin_of(study.trainings, one)) is not None
        for benchmark in results.benchmarks
        for code in one.languages
        if (verdict := results.verdict(benchmark, code, one.name, twin.name)) is not None
    ]
    parts.append(
        f"Against random neurons trained alike: {tally_words(against)}."
        if against
        else "They were not compared with random neurons trained alike."
    )
    if SAMPLE in {row["data"] for row in results.rows()}:
        parts.append(f"Some items {SAMPLE_WORDS}.")
    verdicts = Counter(row["verdict"] for row in rows)
    return _headed("Training, benchmarks", verdicts, "no benchmark shows evidence of a change", parts)


def _verdicts(results: Results, chosen: list[Training]) -> list[Row]:
    """Against the base model, in the languages each was trained for."""
    return [
        verdict
        for one in chosen
        for benchmark in results.benchmarks
        for code in one.languages
        if (verdict := results.verdict(benchmark, code, one.name, BASE)) is not None
    ]


def _headed(subject: str, verdicts: Counter[str], null: str, parts: list[str]) -> Finding:
    n = verdicts.total() - verdicts["not judged"]
    evidence = " ".join(parts)
    if not n:
        return Finding(f"{subject}: nothing could be judged.", evidence, "note")
    which = [f"{name} in {verdicts[name]}" for name in ("better", "worse") if verdicts[name]]
    if not which:
        return Finding(f"{subject}: {null}.", evidence, "no")
    return Finding(
        f"{subject}: {listing(which)} of {n}.", evidence, "yes" if verdicts["better"] == n else "mixed"
    )


def _interval(effect: Effect) -> str:
    if effect.n_sentences < 2:
        return f"{fine_times(effect.times)} (one sentence, no interval)"
    return f"{fine_times(effect.times)} [{fine_times(effect.low)}, {fine_times(effect.high)}]"


def _tally(effects: Sequence[Effect]) -> str:
    return tally_words([{"verdict": verdict_of(effect)} for effect in effects])
