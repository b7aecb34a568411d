"""Charts of values with their intervals: perplexity after deactivation (the paper's Figure 4), and Eq. 4–6."""

from collections.abc import Sequence

from markupsafe import Markup

from polyneuron.eval.report.charts.frame import Bands
from polyneuron.eval.report.charts.svg import log_axis
from polyneuron.eval.report.numbers.effects import Effects
from polyneuron.eval.report.numbers.estimates import ShownEstimate
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.units import Row
from polyneuron.eval.report.words.wording import language_name, number, tidy, times
from polyneuron.neuron_core.sets.variant_name import ControlKind

_SETS = {
    "shared": ("diamond", "shared", "shared"),
    "exclusive": ("square", "exclusive", "exclusive"),
    "strict_exclusive": ("square", "hollow", "strict"),
}
"""Shape, class and name of each kind of set."""
_DRAWS: dict[ControlKind, tuple[str, str]] = {
    "control": ("random draw", "control"),
    "impact_control": ("draw nearest in impact", "like-impact"),
}
_LOOKS = (("PPL", "disc", "shared"), ("log PPL", "ring", "ring"))


def effect_chart(study: ShownStudy, effects: Effects) -> Markup:
    """Per language, on a log scale: the shared set, its own sets, and the draws that they must beat."""
    names = [variant.name for variant in study.variants if variant.kind != "tuned"]
    found = [effect for name in names for effect in effects.by.get(name, {}).values()]
    chart = Bands(
        "Perplexity multiplier after switching neurons off, per language, log scale",
        log_axis([v for e in found for v in (e.times, e.low, e.high)], 0.9, 1.2),
        lambda tick: times(tick, tidy=True),
        sizes=(22, 25, 10),
    )
    for language in [code for code in study.languages if code in effects.base]:
        drawn = [
            (*look, study.variants.of_set(kind, None if kind == "shared" else language))
            for kind, look in _SETS.items()
        ]
        remark = f"perplexity before: {number(effects.base[language])}"
        lanes = chart.band(language_name(language), len(drawn), remark)
        for y, (shape, css, name, variant) in zip(lanes, drawn, strict=True):
            effect = effects.of(variant, language)
            if variant is None or effect is None:
                chart.note(y, f"{name}: not measured")
                continue
            draws = []
            for control_kind, (words, tick) in _DRAWS.items():
                for control in study.variants.controls_of(variant.name, control_kind):
                    if (draw := effects.of(control, language)) is not None:
                        draws.append(draw.times)
                        tip = f"{words}, seed {control.seed}: {times(draw.times)}"
                        chart.mark(chart.x.at(draw.times), y, "tick", tick, tip)
            tip = f"{variant.name}: {times(effect.times)} ({times(effect.low)} to {times(effect.high)})"
            ends = effect.low, effect.times, effect.high
            chart.estimate(y, ends, (shape, css), f"{name} {times(effect.times)}", tip, beside=draws)
    return chart.render(reference=1)


def importance_chart(rows: Sequence[tuple[str, Sequence[ShownEstimate | None]]]) -> Markup:
    """Eq. 5 per language, log scale: from perplexity, as published, and from its log; 1 is equal worth."""
    estimates = [e for _, pair in rows for e in pair if e is not None and e.value is not None]
    values = [v for e in estimates for v in (e.value, e.low, e.high) if v is not None]
    label = "Importance of a shared neuron against an exclusive one, per language, log scale"
    chart = Bands(label, log_axis(values, 0.5, 2.0), tidy, sizes=(22, 22, 2))
    for language, pair in rows:
        lanes = chart.band(language_name(language), len(pair))
        for y, found, (name, shape, css) in zip(lanes, pair, _LOOKS, strict=True):
            if found is None or found.value is None:
                chart.note(y, f"{name}: no value")
                continue
            words = f"{name} {number(found.value)}" + (", off the scale" if found.value <= 0 else "")
            ends = found.low, found.value, found.high
            chart.estimate(y, ends, (shape, css), words, f"{name}: {found.words}")
    return chart.render(reference=1)


def sensitivity_chart(neighbours: Sequence[Row]) -> Markup:
    """The shared ratio (Eq. 4) under every neighbouring rule, the study's own rule filled."""
    values = [near["shared_ratio"] for near in neighbours if near["shared_ratio"] is not None]
    label = "Shared ratio under neighbouring rules, log scale"
    chart = Bands(label, log_axis(values, 0.1, 1.0), tidy, sizes=(15, 22, 1))
    for near in neighbours:
        (y,), ratio = chart.band(near["label"], 1), near["shared_ratio"]
        if ratio is not None and ratio > 0:
            look = "diamond", "shared" if near["is_study"] else "hollow"
            chart.estimate(y, (None, ratio, None), look, number(ratio), near["label"])
        else:  # short enough for a phone; the reason itself is in the table and in the list of omissions
            chart.note(y, "no value: see the remark below" if near["null_reason"] else "no shared neurons")
    return chart.render()
