"""Small multiples of methods: neurons per language, neurons per layer, and common neurons per layer beside chance."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from polyneuron.eval.report.charts.svg import Axis, Drawing
from polyneuron.eval.report.numbers.methods import MethodSets, Row
from polyneuron.eval.report.sections.method_cells import ABOVE, BELOW, WITHIN
from polyneuron.eval.report.sections.method_overlap import COMPARED, layer_tally, verdict_of
from polyneuron.eval.report.words.wording import count, language_name, percent, plural

_BAR_ROW, _LANE, _LANE_HEAD = 34, 52, 18
_LANE_HEIGHT = _LANE - _LANE_HEAD - 6


def count_chart(sets: MethodSets, languages: Sequence[str], n_neurons: int) -> Markup:
    """Neurons of each language, and their share of the model's ffn neurons; the longest bar is the most."""
    sizes = {code: sets.size(code) for code in languages}
    axis = Axis(0, max([size for size in sizes.values() if size] + [1]), pad_percent=0)
    drawing = Drawing(_BAR_ROW * len(languages) + 4, f"Neurons per language of {sets.name}")
    for i, (code, size) in enumerate(sizes.items()):
        y = i * _BAR_ROW
        words = "not asked for" if size is None else f"{count(size)} ({percent(size / n_neurons)})"
        drawing.text(0, y + 12, language_name(code), "label")
        drawing.text(100, y + 12, words, "value", "end")
        if size:
            drawing.bar(0, axis.at(size), y + 17, 10, "shared", f"{language_name(code)}: {words}")
    return drawing.render()


def profile_chart(sets: MethodSets, languages: Sequence[str]) -> Markup:
    """A lane for each language: neurons in every layer, all lanes to one scale."""
    counts = {code: sets.by_layer(code).tolist() for code in languages}
    most = max([1, *(n for lane in counts.values() for n in lane)])
    drawing = Drawing(_LANE * len(languages) + 18, f"Neurons per layer of {sets.name}")
    for i, (code, lane) in enumerate(counts.items()):
        total = sum(lane)
        peak = f"most in layer {lane.index(max(lane))}: {count(max(lane))}" if total else "no neurons"
        _lane(drawing, i * _LANE, language_name(code), peak)
        _bars(
            drawing, i * _LANE, [(layer, n / most) for layer, n in enumerate(lane)], sets.n_layers, "shared"
        )
    _layer_names(drawing, _LANE * len(languages), sets.n_layers)
    return drawing.render()


def agreement_chart(rows_by_language: dict[str, list[Row]], n_layers: int, label: str) -> Markup:
    """A lane for each language: neurons that two methods have in common in every layer, all lanes to one scale.

    Solid bars are above chance, hatched ones below it, pale ones neither; the line is the upper end of chance.
    """
    layers = {
        code: [row for row in rows if row["layer"] is not None] for code, rows in rows_by_language.items()
    }
    values = [max(row["n_common"], row["chance_high"]) for rows in layers.values() for row in rows]
    most = max([1, *values])
    drawing = Drawing(_LANE * len(layers) + 18, f"Common neurons per layer of {label}, beside chance")
    for i, (code, rows) in enumerate(layers.items()):
        y = i * _LANE
        _lane(drawing, y, language_name(code), tally_words(rows))
        for verdict, css in ((ABOVE, "shared"), (BELOW, "exclusive"), (WITHIN, "pale")):
            inside = [(row["layer"], row["n_common"] / most) for row in rows if verdict_of(row) == verdict]
            _bars(drawing, y, inside, n_layers, css)
        ends = [(row["layer"], row["chance_high"] / most) for row in rows if verdict_of(row) in COMPARED]
        _caps(drawing, y, ends, n_layers)
    _layer_names(drawing, _LANE * len(layers), n_layers)
    return drawing.render()


def tally_words(rows: Sequence[Row]) -> str:
    """``▲ 3, ▼ 0 of 30 layers``, of the layers where both have neurons."""
    tally = layer_tally(rows)
    compared = sum(tally.values())
    if not compared:
        return "no layer with both"
    return f"▲ {count(tally[ABOVE])}, ▼ {count(tally[BELOW])} of {plural(compared, 'layer')}"


def _lane(drawing: Drawing, y: float, name: str, words: str) -> None:
    bottom = y + _LANE_HEAD + _LANE_HEIGHT
    drawing.text(0, y + 12, name, "label")
    drawing.text(100, y + 12, words, "tick", "end")
    drawing.line(0, bottom, 100, bottom, "grid")


def _bars(drawing: Drawing, y: float, heights: list[tuple[int, float]], n_layers: int, css: str) -> None:
    """(layer, 0..1) as one filled path, so that many layers stay small in the file."""
    steps = "".join(
        f"M{layer + 0.1:.1f} 100V{100 * (1 - share):.1f}H{layer + 0.9:.1f}V100z"
        for layer, share in heights
        if share > 0
    )
    _boxed(drawing, y, steps, n_layers, css)


def _caps(drawing: Drawing, y: float, heights: list[tuple[int, float]], n_layers: int) -> None:
    steps = "".join(f"M{layer} {100 * (1 - share):.1f}h1" for layer, share in heights)
    _boxed(drawing, y, steps, n_layers, "cap")


def _boxed(drawing: Drawing, y: float, steps: str, n_layers: int, css: str) -> None:
    if steps:
        drawing.raw(
            f'<svg x="0" y="{y + _LANE_HEAD:.1f}" width="100%" height="{_LANE_HEIGHT}" '
            f'viewBox="0 0 {n_layers} 100" preserveAspectRatio="none">'
            f'<path d="{steps}" class="{css}" vector-effect="non-scaling-stroke"/></svg>'
        )


def _layer_names(drawing: Drawing, y: float, n_layers: int) -> None:
    for layer in sorted({0, n_layers // 2, n_layers - 1}):
        at = 0 if layer == 0 else 100 if layer == n_layers - 1 else 100 * (layer + 0.5) / n_layers
        anchor = "start" if layer == 0 else "end" if layer == n_layers - 1 else "middle"
        drawing.text(at, y + 12, f"layer {layer}", "tick", anchor)
