"""Small multiples of methods: neurons per language, neurons per layer, and common neurons per layer beside chance."""

from collections.abc import Sequence

from markupsafe import Markup

from polyneuron.eval.report.charts.frame import BarRow, bar_rows, name_layers
from polyneuron.eval.report.charts.svg import Drawing
from polyneuron.eval.report.numbers.effects import ABOVE, BELOW, WITHIN
from polyneuron.eval.report.numbers.methods import COMPARED, MethodSets, layer_tally, overlap_verdict
from polyneuron.eval.report.numbers.units import Row
from polyneuron.eval.report.words.wording import count, language_name, percent, plural

_LANE, _HEAD, _BARS = 52, 18, 28
_CAP = "cap"
_Lane = tuple[str, str, list[tuple[str, list[tuple[int, float]]]]]
"""A name, a remark at its right, and numbers by layer for each class: bars, or short lines for `_CAP`."""


def size_words(size: int | None, n_neurons: int) -> str:
    """``10 (7.8%)``: neurons, and their share of the model's."""
    return "not asked for" if size is None else f"{count(size)} ({percent(size / n_neurons)})"


def count_chart(sets: MethodSets, languages: Sequence[str], n_neurons: int) -> Markup:
    """Neurons of each language, and their share of the model's ffn neurons; the longest bar is the most."""
    rows = []
    for code in languages:
        size, name = sets.size(code), language_name(code)
        words = size_words(size, n_neurons)
        rows.append(BarRow(name, words, [(size, "shared")] if size else [], f"{name}: {words}"))
    return bar_rows(f"Neurons per language of {sets.name}", rows)


def profile_chart(sets: MethodSets, languages: Sequence[str]) -> Markup:
    """A lane for each language: neurons in every layer, all lanes to one scale."""
    lanes = []
    for code in languages:
        counts = sets.by_layer(code).tolist()
        most = max(counts)
        peak = f"most in layer {counts.index(most)}: {count(most)}" if most else "no neurons"
        lanes.append((language_name(code), peak, [("shared", list(enumerate(counts)))]))
    return _lanes(f"Neurons per layer of {sets.name}", lanes, sets.n_layers)


def agreement_chart(rows_by_language: dict[str, list[Row]], n_layers: int, label: str) -> Markup:
    """A lane for each language: neurons that two methods have in common in every layer, all lanes to one scale. Solid bars are
    above chance, hatched ones below it, pale ones neither; the line is the upper end of chance."""
    lanes = []
    for code, rows in rows_by_language.items():
        judged = [(overlap_verdict(row), row) for row in rows if row["layer"] is not None]
        marks = [
            (css, [(row["layer"], row["n_common"]) for verdict, row in judged if verdict == shown])
            for shown, css in ((ABOVE, "shared"), (BELOW, "exclusive"), (WITHIN, "pale"))
        ]
        caps = [(row["layer"], row["chance_high"]) for verdict, row in judged if verdict in COMPARED]
        marks.append((_CAP, caps))
        lanes.append((language_name(code), tally_words(rows), marks))
    return _lanes(f"Common neurons per layer of {label}, beside chance", lanes, n_layers)


def tally_words(rows: Sequence[Row]) -> str:
    """``▲ 3, ▼ 0 of 30 layers``, of the layers where both have neurons."""
    tally = layer_tally(rows)
    compared = sum(tally.values())
    if not compared:
        return "no layer with both"
    return f"▲ {count(tally[ABOVE])}, ▼ {count(tally[BELOW])} of {plural(compared, 'layer')}"


def _lanes(label: str, lanes: list[_Lane], n_layers: int) -> Markup:
    most = max([1, *(n for *_, marks in lanes for _, numbers in marks for _, n in numbers)])
    drawing = Drawing(label)
    for i, (name, remark, marks) in enumerate(lanes):
        y = _LANE * i
        drawing.text(0, y + 12, name, "label")
        drawing.text(100, y + 12, remark, "tick", "end")
        drawing.line(0, y + _HEAD + _BARS, 100, y + _HEAD + _BARS, "grid")
        for css, numbers in marks:  # as one path, so that many layers stay small in the file
            shape = "M{0} {1:.1f}h1" if css == _CAP else "M{0}.1 100V{1:.1f}H{0}.9V100z"
            steps = [shape.format(at, 100 * (1 - n / most)) for at, n in numbers if n or css == _CAP]
            drawing.path("".join(steps), y + _HEAD, _BARS, css, width=n_layers)
    name_layers(drawing, n_layers, _LANE * len(lanes) + 12)
    return drawing.svg(_LANE * len(lanes) + 18)
