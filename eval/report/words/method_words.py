"""What the methods are called and how each chooses neurons, in plain words."""

from __future__ import annotations

from polyneuron.eval.report.numbers.methods import IMPACT_METHODS, Detector, OtherMethods
from polyneuron.eval.report.words.wording import percent, span

DEGENERATE = "act_prob"
"""The published form that can hardly tell neurons apart."""


def method_name(name: str, others: OtherMethods) -> str:
    """``Act-Prob-90p (pooled)``; a name we do not know stays as it is."""
    if name in IMPACT_METHODS:
        return f"impact ({IMPACT_METHODS[name]})"
    if name == "lape":
        return "LAPE"
    percentile = next((each.rule.get("percentile", 90) for each in others.detectors if each.name == name), 90)
    return {
        "act_prob": f"Act-Prob-{percentile}p (as published)",
        "act_prob_pooled": f"Act-Prob-{percentile}p (pooled)",
    }.get(name, name)


def method_explained(detector: Detector) -> str:
    """How it chooses, in a sentence."""
    percentile = detector.rule.get("percentile", 90)
    share = percent((100 - percentile) / 100) if isinstance(percentile, int | float) else "?"
    known = {
        "lape": "Neurons that are above 0 often in some language and rarely in the others: the lowest entropy of the "
        "shares of tokens, over the languages. One neuron may belong to several languages.",
        "act_prob": f"Neurons most often above their own {percentile}th percentile in the language. By the definition of "
        f"a percentile that is {share} of the tokens for every neuron in every language, so this ranking is nearly "
        "degenerate by construction: what it still ranks by is ties, and it says next to nothing about languages.",
        "act_prob_pooled": f"Neurons most often above their {percentile}th percentile over all languages’ tokens "
        f"together. More than {share} means that the neuron is stronger in this language than in the others.",
    }
    return known.get(detector.name, "A detector this report has no words for.")


def threshold_words(detector: Detector) -> str:
    """How relevant the least relevant chosen neuron is, where the detector ranks by relevance; else empty."""
    least = [value for name, value in detector.thresholds.items() if name.startswith("relevance/")]
    known = [value for value in least if value is not None]
    if not known:
        return ""
    words = span(min(known), max(known), lambda value: percent(value, 3))
    by_language = ", by language" if " to " in words else ""
    return f"The last neuron chosen is above it in {words} of the tokens{by_language}."


def site_words(site: str) -> str:
    """Where the activations were read."""
    return {
        "matched": "the activation function’s output",
        "pre_activation": "the activation function’s input",
    }.get(site, f"the site “{site}”")
