"""What training changed, as kinds and values; a null result is one."""

from collections import Counter
from collections.abc import Sequence

from polyneuron.eval.report.numbers.benchmarks import SAMPLE, Results
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.trained_effects import TrainedEffects
from polyneuron.eval.report.numbers.training import RANDOM, ShownTraining, several_seeds, twin_of
from polyneuron.eval.report.words.benchmark_findings import median_reach, tally
from polyneuron.eval.report.words.findings import Finding, Tone, tone_of
from polyneuron.eval.verdicts.verdict import BETTER, NOT_JUDGED, WORSE

_MOST_SENTENCES = 3


def training_findings(study: ShownStudy, effects: TrainedEffects, results: Results | None) -> list[Finding]:
    """On held-out perplexity, and on benchmarks. ``results``: the trained part, None where nothing was scored. Where the
    documents can teach nothing, both are one note."""
    chosen = [t for t in study.trainings if t.strategy != RANDOM] or list(study.trainings)
    judged = results is not None and bool(results.changed)
    found = [_perplexity(study, effects, chosen, judged)]
    if results is not None and judged:
        found.append(_benchmarks(study, results, chosen))
    if all(training.only_embedded for training in study.trainings):
        return [Finding("training_mechanics", "note", {"findings": found})]
    return found


def _perplexity(
    study: ShownStudy, effects: TrainedEffects, chosen: Sequence[ShownTraining], judged: bool
) -> Finding:
    measured = [(t, code, e) for t in chosen for code in t.languages if (e := effects.on_base(t, code))]
    if not measured:
        return Finding("training_perplexity_unmeasured", "note", {"judged": judged})
    twins = [effect for t, code, _ in measured if (effect := effects.on_random(t, code)) is not None]
    others = [
        (t, code, e)
        for t in chosen
        for code in effects.languages_of(t)
        if code not in t.languages and (e := effects.on_base(t, code))
    ]
    verdicts = Counter(effect.verdict for *_, effect in measured)
    values = {
        "verdicts": verdicts,
        "measured": measured[:_MOST_SENTENCES],
        "more": max(0, len(measured) - _MOST_SENTENCES),
        "seeds": several_seeds(study.trainings),
        "twins": Counter(effect.verdict for effect in twins),
        "others": Counter(effect.verdict for *_, effect in others),
        "worst": max(others, key=lambda found: found[2].times, default=None),
        "judged": judged,
    }
    return Finding("training_perplexity", _tone(verdicts), values)


def _benchmarks(study: ShownStudy, results: Results, chosen: Sequence[ShownTraining]) -> Finding:
    """In the languages each variant was trained for, against the base model and against random neurons trained alike."""
    if results.data() == {SAMPLE}:
        return Finding("training_samples", "note", {})
    asked = [(b, code, t) for t in chosen for b in results.benchmarks for code in t.languages]
    rows = [row for b, code, t in asked if (row := results.verdict(b, code, t.name)) is not None]
    against = [
        row
        for b, code, t in asked
        if (twin := twin_of(study.trainings, t)) is not None
        and (row := results.verdict(b, code, t.name, twin.name)) is not None
    ]
    values = {
        "verdicts": (verdicts := tally(rows)),
        "reach": median_reach(rows),
        "twins": tally(against),
        "some_samples": SAMPLE in results.data(),
    }
    return Finding("training_benchmarks", _tone(verdicts), values)


def _tone(verdicts: Counter[str]) -> Tone:
    tone = tone_of(verdicts[BETTER], verdicts.total() - verdicts[NOT_JUDGED], "note")
    return "mixed" if tone == "no" and verdicts[WORSE] else tone
