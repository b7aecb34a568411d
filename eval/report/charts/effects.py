"""Charts of Eq. 4–6 with their intervals."""

from collections.abc import Sequence

from markupsafe import Markup

from polyneuron.eval.report.charts.frame import Bands
from polyneuron.eval.report.charts.svg import log_axis
from polyneuron.eval.report.numbers.estimates import ShownEstimate
from polyneuron.eval.report.numbers.units import Row
from polyneuron.eval.report.words.wording import language_name, number, tidy

_LOOKS = (("PPL", "disc", "shared"), ("log PPL", "ring", "ring"))


def importance_chart(rows: Sequence[tuple[str, Sequence[ShownEstimate | None]]]) -> Markup:
    """Eq. 5 per language, log scale: from perplexity, as published, and from its log; 1 is equal worth."""
    estimates = [e for _, pair in rows for e in pair if e is not None and e.value is not None]
    values = [v for e in estimates for v in (e.value, e.low, e.high) if v is not None]
    label = "Importance of a shared neuron against an exclusive one, per language, log scale"
    chart = Bands(label, log_axis(values, 0.5, 2.0), tidy, sizes=(20, 20, 2))
    for language, pair in rows:
        lanes = chart.band(language_name(language), len(pair))
        for y, found, (name, shape, css) in zip(lanes, pair, _LOOKS, strict=True):
            if found is None or found.value is None:
                chart.note(y, name, "no value")
                continue
            words = number(found.value) + (" (off)" if found.value <= 0 else "")
            ends, tip = (found.low, found.value, found.high), f"{name}: {found.words}"
            chart.estimate(y, ends, (shape, css), name=name, words=words, tip=tip)
    return chart.render(reference=1)


def sensitivity_chart(neighbours: Sequence[Row]) -> Markup:
    """The shared ratio (Eq. 4) under every neighbouring rule, the study's own rule filled."""
    values = [near["shared_ratio"] for near in neighbours if near["shared_ratio"] is not None]
    label = "Shared ratio under neighbouring rules, log scale"
    chart = Bands(label, log_axis(values, 0.1, 1.0), tidy, sizes=(0, 24, 0))
    for near in neighbours:
        (y,), ratio, name = chart.band("", 1), near["shared_ratio"], near["label"]
        if ratio is not None and ratio > 0:
            look = "diamond", "shared" if near["is_study"] else "hollow"
            chart.estimate(y, (None, ratio, None), look, name=name, words=number(ratio), tip=name)
        else:  # the reason itself is in the list of what was left out
            chart.note(y, name, "no value" if near["null_reason"] else "no shared neurons")
    return chart.render()
