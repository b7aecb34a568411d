"""What the impact study shows, as kinds and values; `findings.html.j2` says them. A result that is not there is a finding too.

A set stands out in a language when its perplexity multiplier is above all of its draws there. Whether that is more than chance is
a question to all languages together: a few draws give no language a small p-value of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from polyneuron.eval.report.numbers.chance import OWN_SETS, BesideDraws, beside_all_kinds
from polyneuron.eval.report.numbers.effects import ALPHA, Effects
from polyneuron.eval.report.numbers.estimates import (
    IMPORTANCE,
    SCORE,
    SHARED_RATIO,
    estimate,
    noise_floor_of,
    sensitivity_band,
)
from polyneuron.eval.report.numbers.specificity import specificity_of
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.neuron_core.passes.lengths import unequal
from polyneuron.neuron_core.sets.variant_name import ControlKind

ENOUGH_DRAWS = 5
Tone: TypeAlias = Literal["yes", "mixed", "no", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the numbers say. ``kind``: the macro of `findings.html.j2` that says it; ``tone``: mixed, a null result (no)
    or a note where it is no plain yes; ``values``: what stands in its sentences."""

    kind: str
    tone: Tone
    values: Mapping[str, Any]


def findings_of(study: ShownStudy, effects: Effects | None) -> list[Finding]:
    """What the sets, the perplexities without them and Eq. 4 to 6 say."""
    if effects is None:
        return [_sizes(study), _noise(study), Finding("perplexity_unmeasured", "note", {})]
    found = [_sizes(study), _noise(study), _shared_off(study, effects)]
    for make in (_own_off, _specificity):
        found += [make(study, effects, kind) for kind in OWN_SETS]
    found += [_importance(study), _score(study)]
    return [finding for finding in found if finding is not None]


def tone_of(hits: int, n: int, before: Tone = "mixed") -> Tone:
    """How plain a result of ``n`` comparisons is: a yes in all of them, in some or in none; ``before`` any was made."""
    return before if not n else "no" if not hits else "yes" if hits == n else "mixed"


def extremes(values: Mapping[str, float]) -> dict[str, tuple[str, float]]:
    """The least and the most of values by language, each with its language."""
    least, most = (find(values, key=values.__getitem__) for find in (min, max))
    return {"least": (least, values[least]), "most": (most, values[most])}


def _sizes(study: ShownStudy) -> Finding:
    own = {code: study.sets.total("exclusive", code) for code in study.languages}
    shared, tokens = study.sets.total("shared"), study.detection_tokens()
    ends = unequal({code: n for code, n in tokens.items() if code in own})
    values = {
        "shared": shared,
        "n_measured": study.anatomy.n_neurons,
        "languages": list(own),
        "chosen": bool(study.rule.get("target_shared")),
        "lengths": [(code, tokens[code]) for code in ends] if ends else None,
    }
    return Finding("sizes", "note" if own and shared else "no", values)


def _noise(study: ShownStudy) -> Finding:
    """How large the sets would be by chance, and how stable they are."""
    noise = noise_floor_of(study)
    if noise is None or noise.reason:
        return Finding("noise_unmeasured", "note", {"reason": noise.reason if noise else None})
    kinds = ("exclusive", "strict_exclusive")
    larger = {kind: noise.larger(kind, ALPHA) for kind in kinds}
    values = {
        "n_languages": len(study.languages),
        "larger": larger,
        "means": {kind: noise.rows[kind, ""] for kind in kinds},
        "shared": noise.rows["shared", ""],
        "alpha": ALPHA,
    }
    return Finding("noise", tone_of(len(larger["exclusive"]), len(study.languages)), values)


def _shared_off(study: ShownStudy, effects: Effects) -> Finding | None:
    variant = study.variants.of_set("shared")
    if variant is None:
        return Finding("shared_unmeasured", "note", {})
    times = {code: e.times for code in study.languages if (e := effects.of(variant, code))}
    if not times:
        return None
    beside = beside_all_kinds(study.variants, effects, list(times), "shared")
    random = beside.get("control")
    values = {
        "n_neurons": variant.n_neurons,
        "languages": list(times),
        **extremes(times),
        "beside": {kind: _spread(each) for kind, each in beside.items()},
        "lost": random.lost if random else [],
        "alpha": ALPHA,
    }
    return Finding("shared_off", _tone_beside(beside), values)


def _tone_beside(beside: Mapping[ControlKind, BesideDraws]) -> Tone:
    """Random draws are beaten by any set of large impacts, so a plain yes takes draws of equal impact as well."""
    random = beside.get("control")
    if random is not None and not random.n_won:
        return "no"
    like = beside.get("impact_control")
    is_plain = like is not None and like.is_matched and all(each.is_more for each in beside.values())
    return "yes" if is_plain else "mixed"


def _spread(beside: BesideDraws) -> dict[str, Any]:
    """How many draws there are, their multipliers over all languages, and what the set does beside them."""
    times = [t for of_language in beside.draws.values() for t in of_language]
    return {
        "n": beside.n_draws,
        "few": beside.n_draws < ENOUGH_DRAWS,
        "median": float(np.median(times)),
        "lost": beside.lost,
        "n_won": beside.n_won,
        "n_compared": len(beside.times),
        "p_value": beside.p_all,
        "is_more": beside.is_more,
        "ratio": beside.impact_ratio,
        "is_matched": beside.is_matched,
    }


def _own_off(study: ShownStudy, effects: Effects, kind: str) -> Finding | None:
    """Does a language lose more without its own set than without draws?"""
    own = {code: v for code in study.languages if (v := study.variants.of_set(kind, code))}
    times = {code: effect.times for code, v in own.items() if (effect := effects.of(v, code))}
    if not times:
        return None
    beside = beside_all_kinds(study.variants, effects, list(times), kind)
    values = {
        "set": kind,
        **extremes(times),
        "unharmed": [code for code in times if times[code] <= 1],
        "beside": {kind: _spread(each) for kind, each in beside.items()},
        "lost": beside["control"].lost if "control" in beside else [],
        "alpha": ALPHA,
    }
    return Finding("own_off", _tone_beside(beside), values)


def _specificity(study: ShownStudy, effects: Effects, kind: str) -> Finding | None:
    """Does a language's own set hurt its own language most?"""
    found = specificity_of(study.variants, effects, tuple(study.languages), kind)
    if found is None:
        return None
    values = {
        "set": kind,
        "victims": found.victims,
        "sets": found.sets,
        "languages": found.languages,
        "alpha": ALPHA,
    }
    more_than_chance = found.sets.p_value <= ALPHA
    tone: Tone = "yes" if more_than_chance and found.sets.found == found.sets.n else "mixed"
    return Finding("specificity", tone if more_than_chance else "no", values)


def _importance(study: ShownStudy) -> Finding | None:
    metric = IMPORTANCE["nll"]
    stored = {code: e for code in study.languages if (e := estimate(study, metric, code)) is not None}
    if not stored:
        return None
    known = [e for e in stored.values() if e.value is not None]
    above = [e for e in known if e.value is not None and e.value > 1]
    values = {
        "known": len(known),
        "above": len(above),
        "sure": sum(e.low is not None and e.low > 1 for e in above),
        "nulls": [code for code, e in stored.items() if e.value is None],
    }
    return Finding("importance", tone_of(len(above), len(known), "no"), values)


def _score(study: ShownStudy) -> Finding | None:
    names = {"ratio": SHARED_RATIO, "by_ppl": SCORE["ppl"], "by_nll": SCORE["nll"]}
    found = {name: estimate(study, metric) for name, metric in names.items()}
    if not any(found.values()):
        return None
    return Finding("score", "note", {**found, "band": sensitivity_band(study)})
