"""Perplexity after deactivation: the paper's Figure 4, each effect beside the random draws it must beat."""

from __future__ import annotations

from markupsafe import Markup

from polyneuron.eval.report.charts.frame import Bands
from polyneuron.eval.report.charts.svg import log_axis
from polyneuron.eval.report.numbers.effects import Effects
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.words.wording import language_name, number, times


def effect_chart(study: ShownStudy, effects: Effects) -> Markup:
    """Per language, on a log scale: the shared set, its own exclusive set, and their controls."""
    names = [variant.name for variant in study.variants if variant.kind != "tuned"]
    found = [effect for name in names for effect in effects.by.get(name, {}).values()]
    chart = Bands(
        "Perplexity multiplier after switching neurons off, per language, log scale",
        log_axis([v for e in found for v in (e.times, e.low, e.high)], 0.9, 1.2),
        lambda tick: times(tick, tidy=True),
        sizes=(22, 25, 10),
    )
    for language in [code for code in study.languages if code in effects.base]:
        shared, own = study.variants.of_set("shared"), study.variants.of_set("exclusive", language)
        drawn = (("diamond", "shared", shared), ("square", "exclusive", own))
        remark = f"perplexity before: {number(effects.base[language])}"
        lanes = chart.band(language_name(language), len(drawn), remark)
        for y, (shape, kind, variant) in zip(lanes, drawn, strict=True):
            effect = effects.of(variant, language)
            if variant is None or effect is None:
                chart.note(y, f"{kind}: not measured")
                continue
            draws = []
            for control in study.variants.controls_of(variant.name):
                if (draw := effects.of(control, language)) is not None:
                    draws.append(draw.times)
                    tip = f"random draw, seed {control.seed}: {times(draw.times)}"
                    chart.mark(chart.x.at(draw.times), y, "tick", "control", tip)
            tip = f"{variant.name}: {times(effect.times)} ({times(effect.low)} to {times(effect.high)})"
            ends = effect.low, effect.times, effect.high
            chart.estimate(y, ends, (shape, kind), f"{kind} {times(effect.times)}", tip, beside=draws)
    return chart.render(reference=1)
