"""What the methods are called."""

from __future__ import annotations

from polyneuron.eval.report.numbers.methods import IMPACT_METHODS, OtherMethods


def method_names(others: OtherMethods) -> dict[str, str]:
    """How each method is called for people: ``Act-Prob-90p (pooled)``; a name we do not know stays as it is."""
    names = {name: f"impact ({kind})" for name, kind in IMPACT_METHODS.items()}
    for detector in others.detectors:
        names[detector.name] = {
            "lape": "LAPE",
            "act_prob": f"Act-Prob-{detector.percentile}p (as published)",
            "act_prob_pooled": f"Act-Prob-{detector.percentile}p (pooled)",
        }.get(detector.name, detector.name)
    return names
