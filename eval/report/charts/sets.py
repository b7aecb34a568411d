"""Charts of the sets: the paper's Figure 2, the layer profile, how many languages a neuron belongs to."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from polyneuron.eval.report.charts.svg import Axis, Drawing
from polyneuron.eval.report.numbers.study import ModelStudy
from polyneuron.eval.report.words.wording import count, language_name, percent

_ROW = 46
WHISKERS_UP_TO = 40  # layers: with more, whiskers and bars run into each other on a phone


def fraction_chart(study: ModelStudy, group: str | None = None) -> Markup:
    """Shared and exclusive neurons per language as fractions of the measured ones (of a group, or all)."""
    index = slice(None) if group is None else study.anatomy.groups.index(group)
    total = _neurons(study, group)
    shared = _count(study, "shared", "", index)
    exclusive = {language: _count(study, "exclusive", language, index) for language in study.languages}
    axis = Axis(0, max([shared + n for n in exclusive.values()] + [1]) / total, pad_percent=0)
    row = _ROW if group is None else 38
    drawing = Drawing(row * len(study.languages) + 4, _fraction_words(study, group))
    for i, language in enumerate(study.languages):
        y, both = i * row, shared + exclusive[language]
        words = f"{_share(shared, total)} shared + {_share(exclusive[language], total)} exclusive"
        drawing.text(0, y + 13, language_name(language), "label")
        drawing.text(100, y + 13, words, "value", "end")
        middle, end = axis.at(shared / total), axis.at(both / total)
        tip = f"{language_name(language)}: {count(shared)} shared, {count(exclusive[language])} exclusive"
        drawing.bar(0, middle, y + 19, row - 27, "shared", tip)
        drawing.bar(middle, end, y + 19, row - 27, "exclusive", tip)
    return drawing.render()


def layer_chart(study: ModelStudy, group: str) -> Markup:
    """Per layer, as a share of its neurons: shared upwards; downwards the exclusive mean and range."""
    g = study.anatomy.groups.index(group)
    n_layers, width = study.anatomy.n_layers, study.anatomy.widths.get(group, 1)
    zero = np.zeros((len(study.anatomy.groups), n_layers), np.int64)
    shared = study.sets.counts.get(("shared", ""), zero)[g] / width
    own_LN = np.array([study.sets.counts.get(("exclusive", x), zero)[g] for x in study.languages]) / width
    whiskers = n_layers <= WHISKERS_UP_TO
    lowest = own_LN if whiskers else own_LN.mean(axis=0)
    up, down = (max(float(v.max()), 0.25 / width) for v in (shared, lowest))
    px = 160.0 / (up + down)
    middle = 6 + up * px
    bottom = middle + down * px
    drawing = Drawing(bottom + 20, f"Layer profile of group {group}. {_peak_words(shared, 'shared')}")
    for tick in Axis(0, max(up, down)).ticks(3)[1:]:
        for y in [middle - tick * px] * (tick <= up) + [middle + tick * px] * (tick <= down):
            drawing.line(0, y, 100, y, "grid")
            drawing.text(0, y + (11 if y < middle else -3), percent(tick), "tick halo")
    left = 12.0  # percent kept free for the names of the grid lines
    step = (100 - left) / n_layers
    for layer in range(n_layers):
        low, mean, high = (float(f(own_LN[:, layer])) for f in (np.min, np.mean, np.max))
        own = f"exclusive {percent(mean)} on average, {percent(low)} to {percent(high)}"
        tip = f"Layer {layer}: shared {percent(float(shared[layer]))}, {own}"
        ends = left + step * (layer + 0.12), left + step * (layer + 0.88)
        drawing.bar(*ends, middle - float(shared[layer]) * px, float(shared[layer]) * px, "shared", tip)
        drawing.bar(*ends, middle, mean * px, "exclusive", tip)
        if whiskers and high > 0:
            centre = left + step * (layer + 0.5)
            drawing.line(centre, middle + low * px, centre, middle + high * px, "interval")
    drawing.line(0, middle, 100, middle, "axis")
    for layer in sorted({0, n_layers // 2, n_layers - 1}):
        anchor = "start" if layer == 0 else "end" if layer == n_layers - 1 else "middle"
        at = left if layer == 0 else 100 if layer == n_layers - 1 else left + step * (layer + 0.5)
        drawing.text(at, bottom + 15, f"layer {layer}", "tick", anchor)
    return drawing.render()


def sharing_chart(study: ModelStudy) -> Markup:
    """Neurons that are in exactly 1, 2, … L languages' sets."""
    sizes = study.sets.in_exactly
    n = len(sizes)
    axis = Axis(0, max([*sizes, 1]), pad_percent=0)
    drawing = Drawing(34 * n + 4, "Neurons by the number of languages they belong to")
    for k, size in enumerate(sizes, start=1):
        y = 34 * (k - 1)
        where = (
            "one language only"
            if k == 1
            else f"all {n} languages (shared)"
            if k == n
            else f"{k} of {n} languages"
        )
        css = "shared" if k == n else "exclusive"
        drawing.text(0, y + 12, where, "label")
        drawing.bar(0, axis.at(size), y + 17, 11, css, f"{count(size)} neurons in {where}")
        drawing.text(100, y + 12, count(size), "value", "end")
    return drawing.render()


def _neurons(study: ModelStudy, group: str | None) -> int:
    """Measured neurons of a group; without impacts the fractions are drawn against 1, that is as counts."""
    anatomy = study.anatomy
    if not anatomy.widths:
        return 1
    return (anatomy.n_neurons or 1) if group is None else anatomy.widths[group] * anatomy.n_layers


def _count(study: ModelStudy, kind: str, language: str, index: int | slice) -> int:
    table = study.sets.counts.get((kind, language))
    return 0 if table is None else int(table[index].sum())


def _share(n: int, total: int) -> str:
    return count(n) if total == 1 else percent(n / total, 3)


def _fraction_words(study: ModelStudy, group: str | None) -> str:
    where = "all measured neurons" if group is None else f"the neurons of group {group}"
    return f"Shared and exclusive neurons of {len(study.languages)} languages as fractions of {where}"


def _peak_words(profile: np.ndarray, what: str) -> str:
    if not profile.any():
        return f"No {what} neurons."
    return f"Most {what} neurons in layer {int(profile.argmax())}."
