"""How far other methods agree with impact, and whether their sets matter, in the sentences that open the page."""

from __future__ import annotations

import numpy as np

from polyneuron.eval.report.numbers.effects import Effects, effects_among
from polyneuron.eval.report.numbers.methods import IMPACT_METHODS, Detector, OtherMethods, Row
from polyneuron.eval.report.sections.method_cells import ABOVE, BELOW, WITHIN
from polyneuron.eval.report.sections.method_overlap import COMPARED, chance_ratio, pairs_of, verdict_of
from polyneuron.eval.report.sections.method_perplexity import UNJUDGED, against_random, controls_of, own_set
from polyneuron.eval.report.words.findings import ENOUGH_DRAWS, Finding
from polyneuron.eval.report.words.method_words import DEGENERATE, method_name
from polyneuron.eval.report.words.wording import count, fine_times, language_name, listing, number, plural

_TALLIED = ((ABOVE, "above chance"), (WITHIN, "as chance"), (BELOW, "below chance"))
_ROUNDING = 1e-9


def method_findings(others: OtherMethods | None) -> list[Finding]:
    """Empty when no detector looked at the model."""
    return [] if others is None else [_agreement(others), _perplexity(others)]


def _agreement(others: OtherMethods) -> Finding:
    """Of the impact sets the exclusive ones alone are tallied, being part of the related ones; and the published
    Act-Prob not at all, as agreement with it says next to nothing."""
    pairs = [pair for pair in pairs_of(others) if "impact_related" not in pair]
    told = [pair for pair in pairs if DEGENERATE not in pair] or pairs
    rows = [row for pair in told for _, row in _compared(others, pair)]
    verdicts = [verdict_of(row) for row in rows]
    if not rows:
        return Finding(
            "Whether the methods agree on neurons could not be judged.",
            "No two of them have neurons of the same language to compare.",
            "note",
        )
    parts = [_pair_words(others, pair) for pair in told]
    if told != pairs:
        parts.append(
            f"{method_name(DEGENERATE, others)} is not counted here: it is nearly degenerate by construction."
        )
    parts.append(
        "Chance: random sets of the same sizes in every layer, 95% interval, not corrected for the number of comparisons."
    )
    most, above = max(row["jaccard"] for row in rows), verdicts.count(ABOVE)
    evidence = " ".join(part for part in parts if part)
    if not above:
        below = verdicts.count(BELOW)
        rest = f"; in {below} they share fewer than chance" if below else ""
        return Finding(
            f"No two methods share more of a language’s neurons than chance, in {plural(len(rows), 'comparison')}{rest}.",
            evidence,
            "no",
        )
    return Finding(
        f"Methods share more of a language’s neurons than chance in {above} of {plural(len(rows), 'comparison')}, "
        f"with a Jaccard of at most {most:.2f}.",
        evidence,
        "yes" if above == len(rows) else "mixed",
    )


def _compared(others: OtherMethods, pair: tuple[str, str]) -> list[tuple[str, Row]]:
    """The whole-model rows of the languages in which both methods have neurons, in some layer both."""
    found = [
        (code, others.overlaps[*pair, code][0])
        for code in others.languages
        if (*pair, code) in others.overlaps
    ]
    return [(code, row) for code, row in found if verdict_of(row) in COMPARED]


def _pair_words(others: OtherMethods, pair: tuple[str, str]) -> str:
    """The language with the most agreement, and how all were judged."""
    rows = _compared(others, pair)
    if not rows:
        return ""
    a, b = (method_name(name, others) for name in pair)
    if pair[0] in IMPACT_METHODS:
        a, b = b, a
    code, best = max(rows, key=lambda found: (chance_ratio(found[1]) or 0.0, found[1]["jaccard"]))
    verdicts = [verdict_of(row) for _, row in rows]
    tally = [f"{words} in {verdicts.count(name)}" for name, words in _TALLIED if name in verdicts]
    judged = f"{listing(tally)} of {plural(len(rows), 'language')}"
    ratio = chance_ratio(best)
    if not ratio:
        return f"{a} and {b} share no neuron in any language ({judged})."
    which = "" if len(rows) == 1 else ", the highest multiple"
    return (
        f"{a} and {b} share J={best['jaccard']:.3f} of their {language_name(code)} neurons, {number(ratio, 2)} times "
        f"chance{which} ({judged})."
    )


def _perplexity(others: OtherMethods) -> Finding:
    """Whether a language loses more than under random neurons when its own are off, and more than other languages."""
    parts: list[str] = []
    verdicts: list[str] = []
    for detector in others.detectors:
        effects = effects_among(detector.variants)
        mine = [] if effects is None else _own(detector, effects, others)
        if not mine or effects is None:
            parts.append(f"{method_name(detector.name, others)}: not measured.")
            continue
        judged = [verdict for _, verdict, _, _ in mine if verdict != UNJUDGED]
        verdicts += judged
        parts.append(_detector_words(method_name(detector.name, others), mine, judged))
    n_draws = min(
        (
            len(controls_of(each, v))
            for each in others.detectors
            for v in each.variants
            if v.kind == "detected"
        ),
        default=0,
    )
    if verdicts and n_draws < ENOUGH_DRAWS:
        parts.append(
            f"{plural(n_draws, 'random draw')} a set {'is' if n_draws == 1 else 'are'} too few to show their spread."
        )
    evidence = " ".join(parts)
    what = "Switching off a language’s neurons that other methods find"
    if not verdicts:
        return Finding(
            f"{what}: whether that does more than random neurons could not be judged.", evidence, "note"
        )
    above = verdicts.count(ABOVE)
    if not above:
        return Finding(f"{what} is not shown to cost that language more than random neurons.", evidence, "no")
    return Finding(
        f"{what} costs that language more than random neurons in {above} of {plural(len(verdicts), 'case')}.",
        evidence,
        "yes" if above == len(verdicts) else "mixed",
    )


def _own(
    detector: Detector, effects: Effects, others: OtherMethods
) -> list[tuple[str, str, float, float | None]]:
    """Language, verdict, multiplier in the language itself, and the geometric mean of those in the others."""
    found = []
    for code in others.languages:
        variant = own_set(detector, code)
        effect = None if variant is None else effects.of(variant.name, code)
        if variant is None or effect is None:
            continue
        rest = [e.times for other, e in effects.by[variant.name].items() if other != code]
        mean = float(np.exp(np.mean(np.log(rest)))) if rest else None
        found.append((code, against_random(detector, variant, code), effect.times, mean))
    return found


def _detector_words(name: str, mine: list[tuple[str, str, float, float | None]], judged: list[str]) -> str:
    low, high = min(mine, key=lambda each: each[2]), max(mine, key=lambda each: each[2])
    words = f"{name}: perplexity of the language itself {fine_times(low[2])} ({language_name(low[0])})"
    if fine_times(low[2]) != fine_times(high[2]):
        words += f" to {fine_times(high[2])} ({language_name(high[0])})"
    words += (
        f", more than random in {judged.count(ABOVE)} of {count(len(judged))}"
        if judged
        else ", no random neurons to compare"
    )
    known = [(own, mean) for *_, own, mean in mine if mean is not None]
    if known:
        hit = sum(own > mean * (1 + _ROUNDING) for own, mean in known)
        words += (
            f"; the language itself changes more than the mean of the others in {hit} of {count(len(known))}"
        )
    return f"{words}."
