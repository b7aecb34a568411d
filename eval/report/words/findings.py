"""What the tables say, in plain sentences; a result that is not there is said as plainly as one that is.

A set "does more than chance" in a language when its perplexity multiplier is above all of its random
draws there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyneuron.eval.report.numbers.effects import Effects
from polyneuron.eval.report.numbers.estimates import (
    IMPORTANCE,
    SCORE,
    SHARED_RATIO,
    estimate,
    sensitivity_band,
)
from polyneuron.eval.report.numbers.study import ModelStudy
from polyneuron.eval.report.numbers.variants import Variant
from polyneuron.eval.report.words.wording import (
    count,
    language_name,
    listing,
    number,
    percent,
    plural,
    small_count,
    span,
    times,
)

ENOUGH_DRAWS = 5


@dataclass(frozen=True)
class Finding:
    """``headline`` in a few words, then the evidence. ``tone``: yes, mixed, no (a null result) or note."""

    headline: str
    evidence: str
    tone: str


def findings_of(study: ModelStudy, effects: Effects | None) -> list[Finding]:
    found = [_sizes(study)]
    if effects is None:
        found.append(
            Finding(
                "What the neurons are worth was not measured.", "The store holds no perplexities yet.", "note"
            )
        )
        return found
    found += [
        f for f in (_shared_off(study, effects), _own_off(study, effects), _specificity(study, effects)) if f
    ]
    found += [f for f in (_importance(study), _score(study)) if f]
    return found


def _sizes(study: ModelStudy) -> Finding:
    total = study.anatomy.n_neurons
    shared = study.sets.total("shared")
    own = {lang: study.sets.total("exclusive", lang) for lang in study.languages}
    if not own:
        return Finding("No language was measured.", "", "no")
    some, most = min(own, key=own.__getitem__), max(own, key=own.__getitem__)
    part = f" ({percent(shared / total)} of {count(total)} measured)" if total else ""
    evidence = (
        f"Beyond those, each language has neurons that its own sentences need but not every language’s do: "
        f"from {count(own[some])} ({language_name(some)}) to {count(own[most])} ({language_name(most)})."
        if some != most
        else f"Beyond those, {language_name(some)} has {count(own[some])}."
    )
    if study.rule.get("target_shared"):
        evidence += " The size of the shared set was chosen by the rule, so that count alone is no finding."
    n = len(study.languages)
    if shared == 0:
        return Finding(
            f"No neuron is shared by all {small_count(n)} languages under this rule.", evidence, "no"
        )
    return Finding(
        f"{plural(shared, 'neuron')}{part} matter in all {small_count(n)} languages.", evidence, "note"
    )


def _shared_off(study: ModelStudy, effects: Effects) -> Finding | None:
    variant = next(iter(study.of_kind("shared")), None)
    if variant is None:
        return Finding(
            "Switching off the shared set was not measured.",
            "There is no perplexity for it in the store.",
            "note",
        )
    languages = [lang for lang in study.languages if effects.of(variant.name, lang)]
    value = {lang: e.times for lang in languages if (e := effects.of(variant.name, lang))}
    if not value:
        return None
    low, high = min(value, key=value.__getitem__), max(value, key=value.__getitem__)
    evidence = (
        f"Without the {plural(variant.n_neurons, 'shared neuron')}, held-out perplexity is "
        f"multiplied by between {times(value[low])} ({language_name(low)}) and {times(value[high])} "
        f"({language_name(high)})."
    )
    draws = _draws(study, effects, variant, languages)
    if not draws:
        return Finding("Shared neurons: no random draws to compare with.", evidence, "mixed")
    evidence += " " + _draw_words(study, variant, draws)
    won = [lang for lang in languages if lang in draws and value[lang] > max(draws[lang])]
    lost = [language_name(lang) for lang in languages if lang not in won]
    if not lost:
        margin = min(value[lang] / max(draws[lang]) for lang in won)
        evidence += f" In the closest case that is {number(margin)} times its worst random draw."
        return Finding(
            "Every language breaks down more without the shared neurons than without random ones.",
            evidence,
            "yes",
        )
    tone = "mixed" if won else "no"
    return Finding(f"The shared set does no more than chance in {listing(lost)}.", evidence, tone)


def _own_off(study: ModelStudy, effects: Effects) -> Finding | None:
    own = _own(study, effects)
    if not own:
        return None
    value = {lang: effects.by[v.name][lang].times for lang, v in own.items()}
    draws = {lang: _draws(study, effects, v, [lang]).get(lang, []) for lang, v in own.items()}
    low, high = min(value, key=value.__getitem__), max(value, key=value.__getitem__)
    evidence = (
        f"Without its exclusive set, a language’s own perplexity is multiplied by between "
        f"{times(value[low])} ({language_name(low)}) and {times(value[high])} ({language_name(high)})."
    )
    better = [language_name(lang) for lang in own if value[lang] <= 1]
    if better:
        evidence += f" In {listing(better)} it does not rise at all."
    compared = [lang for lang in own if draws[lang]]
    if not compared:
        return Finding("Exclusive neurons: no random draws to compare with.", evidence, "mixed")
    lost = [language_name(lang) for lang in compared if value[lang] <= max(draws[lang])]
    if not lost:
        return Finding(
            "Each exclusive set is worth more to its own language than random neurons are.", evidence, "yes"
        )
    tone = "no" if len(lost) == len(compared) else "mixed"
    return Finding(f"The exclusive set does no more than chance in {listing(lost)}.", evidence, tone)


def _specificity(study: ModelStudy, effects: Effects) -> Finding | None:
    """Does an exclusive set hurt its own language most?"""
    own = _own(study, effects)
    if len(own) < 2:
        return None
    at_home, abroad = [], []
    for lang, variant in own.items():
        by_language = effects.by[variant.name]
        victim = max(by_language, key=lambda other: by_language[other].times)
        if by_language[victim].times <= 1:
            abroad.append(f"{language_name(lang)}’s hurts no language")
        elif victim == lang:
            at_home.append(lang)
        else:
            abroad.append(f"{language_name(lang)}’s hurts {language_name(victim)} most")
    evidence = f"True of {len(at_home)} of {len(own)} exclusive sets."
    if abroad:
        evidence += f" {listing(abroad)}."
        evidence += (
            " An exclusive set leaves out only what all languages share, so it may hold others’ neurons."
        )
    if len(at_home) == len(own):
        return Finding("Each exclusive set hurts its own language most.", evidence, "yes")
    headline = (
        "Most exclusive sets hurt" if 2 * len(at_home) > len(own) else "Exclusive sets mostly do not hurt"
    )
    return Finding(f"{headline} their own language most.", evidence, "mixed" if at_home else "no")


def _importance(study: ModelStudy) -> Finding | None:
    rows = [(lang, estimate(study, IMPORTANCE["nll"], lang)) for lang in study.languages]
    stored = [(lang, e) for lang, e in rows if e is not None]
    known = [(lang, e) for lang, e in stored if e.value is not None]
    if not stored:
        return None
    nulls = [language_name(lang) for lang, e in stored if e.value is None]
    tail = f" No value in {listing(nulls)}; the reasons are listed at the end." if nulls else ""
    if not known:
        return Finding("Shared and exclusive neurons cannot be compared one for one.", tail.strip(), "no")
    above = [e for _, e in known if e.value is not None and e.value > 1]
    sure = [e for e in above if e.low is not None and e.low > 1]
    evidence = (
        f"By log perplexity (Eq. 5), a shared neuron counts for more in {len(above)} of {len(known)} "
        f"languages, and in {len(sure)} of them the interval leaves 1 out.{tail}"
    )
    if len(above) == len(known):
        return Finding(
            "Neuron for neuron, the shared set is worth more than the exclusive ones.", evidence, "yes"
        )
    where = "everywhere" if above else "in any language"
    headline = f"Neuron for neuron, the shared set is not worth more {where}."
    return Finding(headline, evidence, "mixed" if above else "no")


def _score(study: ModelStudy) -> Finding | None:
    ratio = estimate(study, SHARED_RATIO)
    by_ppl, by_nll = (estimate(study, SCORE[k]) for k in ("ppl", "nll"))
    if ratio is None and by_ppl is None and by_nll is None:
        return None
    parts = []
    if ratio is not None:
        parts.append(f"Shared neuron ratio (Eq. 4): {ratio.words}.")
    if by_ppl is not None:
        parts.append(f"Language-agnostic score (Eq. 6) as published, from perplexity: {by_ppl.words}.")
    if by_nll is not None:
        parts.append(f"From log perplexity: {by_nll.words}.")
    parts.append("Equal worth would score log 2 = 0.69.")
    band = sensitivity_band(study)
    if band is not None:
        parts.append(f"Under neighbouring rules the shared ratio runs from {span(*band)}.")
    value = by_nll.value if by_nll is not None else None
    headline = "The scores depend on the rule; read them with their band."
    if value is not None:
        headline = f"Language-agnostic score {number(value)} from log perplexity; read it with its rule."
    return Finding(headline, " ".join(parts), "note")


def _own(study: ModelStudy, effects: Effects) -> dict[str, Variant]:
    """Each language's exclusive variant, where its own language was measured on it."""
    pairs = {v.set_language: v for v in study.of_kind("exclusive") if v.set_language is not None}
    return {
        lang: pairs[lang] for lang in study.languages if lang in pairs and effects.of(pairs[lang].name, lang)
    }


def _draws(
    study: ModelStudy, effects: Effects, variant: Variant, languages: list[str]
) -> dict[str, list[float]]:
    controls = study.controls_of(variant.name)
    found = {lang: [e.times for c in controls if (e := effects.of(c.name, lang))] for lang in languages}
    return {lang: values for lang, values in found.items() if values}


def _draw_words(study: ModelStudy, variant: Variant, draws: dict[str, list[float]]) -> str:
    n = len(study.controls_of(variant.name))
    every = [v for values in draws.values() for v in values]
    words = (
        f"Random neurons, as many in every layer and group ({plural(n, 'draw')}), give "
        f"{span(min(every), max(every), times)}, with a median of {times(float(np.median(every)))}."
    )
    if n < ENOUGH_DRAWS:
        words += f" {plural(n, 'draw is', 'draws are')} too few to show their spread."
    return words
