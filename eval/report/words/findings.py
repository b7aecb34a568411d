"""What the impact study shows, as kinds and values; `findings.html.j2` says them. A result that is not there is a finding too.

A set stands out in a language when its perplexity multiplier is above all of its random draws there. Whether that is more than
chance is a question to all languages together: a few draws give no language a small p-value of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from polyneuron.eval.report.numbers.chance import empirical_p, tail_of_hits
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
from polyneuron.eval.report.numbers.variants import ShownVariant
from polyneuron.neuron_core.passes.lengths import unequal

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
    makers = (_shared_off, _own_off, _specificity)
    found = [
        _sizes(study),
        _noise(study),
        *(make(study, effects) for make in makers),
        _importance(study),
        _score(study),
    ]
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
    shared, tokens, noise = study.sets.total("shared"), study.detection_tokens(), noise_floor_of(study)
    ends = unequal({code: n for code, n in tokens.items() if code in own})
    values = {
        "shared": shared,
        "n_measured": study.anatomy.n_neurons,
        "n_languages": len(own),
        "chosen": bool(study.rule.get("target_shared")),
        "lengths": [(code, tokens[code]) for code in ends] if ends else None,
        "by_chance": {code: noise.rows["exclusive", code] for code in own}
        if noise and not noise.reason
        else {},
        **(extremes(own) if own else {}),
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
    draws = _draws(study, effects, variant, list(times))
    won = [code for code in times if code in draws and times[code] > max(draws[code])]
    lost = [code for code in times if code not in won]
    values = {
        "n_neurons": variant.n_neurons,
        **extremes(times),
        "draws": _spread(study, variant, draws),
        "lost": lost if draws else [],
        "margin": min((times[code] / max(draws[code]) for code in won), default=None),
        "p_value": (p_value := _p_of_all(times, draws)),
        "alpha": ALPHA,
    }
    tone = tone_of(len(won), len(times) if draws else 0)
    return Finding("shared_off", "mixed" if tone == "yes" and not _is_small(p_value) else tone, values)


def _p_of_all(times: Mapping[str, float], draws: Mapping[str, list[float]]) -> float | None:
    """Of the mean change over languages beside that of each draw, where every draw was measured in every language."""
    sizes = {len(draws.get(code, [])) for code in times}
    if len(sizes) != 1 or sizes == {0}:
        return None
    with np.errstate(divide="ignore"):
        mean = float(np.log([times[code] for code in times]).mean())
        of_draws = np.log([draws[code] for code in times]).mean(axis=0)
    return empirical_p(mean, of_draws.tolist())


def _is_small(p_value: float | None) -> bool:
    return p_value is not None and p_value <= ALPHA


def _own_off(study: ShownStudy, effects: Effects) -> Finding | None:
    own = _own(study, effects)
    if not own:
        return None
    times = {code: effects.by[v.name][code].times for code, v in own.items()}
    draws = {code: _draws(study, effects, v, [code]).get(code, []) for code, v in own.items()}
    compared = [code for code in own if draws[code]]
    lost = [code for code in compared if times[code] <= max(draws[code])]
    chances = [1 / (len(draws[code]) + 1) for code in compared]
    n_won = len(compared) - len(lost)
    values = {
        **extremes(times),
        "unharmed": [code for code in own if times[code] <= 1],
        "compared": compared,
        "lost": lost,
        "chance": sum(chances),
        "p_value": (p_value := tail_of_hits(chances, n_won)),
        "alpha": ALPHA,
    }
    tone = tone_of(n_won, len(compared))
    return Finding("own_off", "mixed" if tone == "yes" and not _is_small(p_value) else tone, values)


def _specificity(study: ShownStudy, effects: Effects) -> Finding | None:
    """Does an exclusive set hurt its own language most?"""
    found = specificity_of(study.variants, effects, tuple(study.languages), "exclusive")
    if found is None:
        return None
    values = {
        "victims": found.victims,
        "sets": found.sets,
        "languages": found.languages,
        "sure": [code for code, margin in found.margins.items() if margin.low > 1],
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


def _own(study: ShownStudy, effects: Effects) -> dict[str, ShownVariant]:
    """Each language's exclusive variant, where its own language was measured on it."""
    pairs = {code: study.variants.of_set("exclusive", code) for code in study.languages}
    return {code: v for code, v in pairs.items() if v is not None and effects.of(v, code)}


def _draws(
    study: ShownStudy, effects: Effects, variant: ShownVariant, languages: list[str]
) -> dict[str, list[float]]:
    controls = study.variants.controls_of(variant.name)
    return {code: times for code in languages if (times := effects.times(controls, code))}


def _spread(
    study: ShownStudy, variant: ShownVariant, draws: Mapping[str, list[float]]
) -> Mapping[str, float] | None:
    """How many random draws there are, and their multipliers over all languages."""
    times = [t for of_language in draws.values() for t in of_language]
    if not times:
        return None
    n = len(study.variants.controls_of(variant.name))
    spread = {"low": min(times), "high": max(times), "median": float(np.median(times))}
    return {"n": n, "few": n < ENOUGH_DRAWS, **spread}
