"""Charts of the sets: the paper's Figure 2, the layer profile, how many languages a neuron belongs to."""

import numpy as np
from markupsafe import Markup

from polyneuron.eval.report.charts.frame import BarRow, Plot, bar_rows, name_layers
from polyneuron.eval.report.charts.svg import Axis
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.words.wording import count, language_name, percent

WHISKERS_UP_TO = 40  # layers: with more, whiskers and bars run into each other on a phone
_LEFT = 12.0  # percent kept free for the names of the grid lines


def fraction_chart(study: ShownStudy, group: str | None = None) -> Markup:
    """Shared and exclusive neurons per language as fractions of the measured ones (of a group, or all)."""
    anatomy, counts = study.anatomy, study.sets.counts
    index = slice(None) if group is None else anatomy.groups.index(group)
    total = None  # without impacts nothing is known but counts
    if anatomy.widths:
        total = anatomy.n_neurons if group is None else anatomy.widths[group] * anatomy.n_layers
    rows = []
    for language in study.languages:
        tables = {"shared": counts["shared", ""], "exclusive": counts["exclusive", language]}
        sizes = {kind: int(table[index].sum()) for kind, table in tables.items()}
        words = [f"{percent(n / total, 3) if total else count(n)} {kind}" for kind, n in sizes.items()]
        tip = ", ".join(f"{count(n)} {kind}" for kind, n in sizes.items())
        name = language_name(language)
        rows.append(BarRow(name, " + ".join(words), [(n, k) for k, n in sizes.items()], f"{name}: {tip}"))
    where = "all measured neurons" if group is None else f"the neurons of group {group}"
    label = f"Shared and exclusive neurons of {len(study.languages)} languages as fractions of {where}"
    return bar_rows(label, rows, row=38) if group else bar_rows(label, rows, row=46, bar=19)


def layer_chart(study: ShownStudy, group: str) -> Markup:
    """Per layer, as a share of its neurons: shared upwards; downwards the exclusive mean and range."""
    g = study.anatomy.groups.index(group)
    n_layers, width = study.anatomy.n_layers, study.anatomy.widths.get(group, 1)
    shared = study.sets.counts["shared", ""][g] / width
    own_LN = np.array([study.sets.counts["exclusive", code][g] for code in study.languages]) / width
    whiskers = n_layers <= WHISKERS_UP_TO
    lowest = own_LN if whiskers else own_LN.mean(axis=0)
    up, down = (max(float(v.max()), 0.25 / width) for v in (shared, lowest))
    peak = f"Most shared neurons in layer {int(shared.argmax())}." if shared.any() else "No shared neurons."
    plot = Plot(
        f"Layer profile of group {group}. {peak}",
        Axis(-n_layers * _LEFT / (100 - _LEFT), n_layers, pad_percent=0),
        Axis(-down, up, pad_percent=0),
        top=6,
        height=160,
    )
    for tick in Axis(0, max(up, down)).ticks(3)[1:]:
        for y in [plot.y_at(tick)] * (tick <= up) + [plot.y_at(-tick)] * (tick <= down):
            plot.line(0, y, 100, y, "grid")
            plot.text(0, y + (11 if y < plot.y_at(0) else -3), percent(tick), "tick halo")
    for layer in range(n_layers):
        low, mean, high = (float(f(own_LN[:, layer])) for f in (np.min, np.mean, np.max))
        own = f"exclusive {percent(mean)} on average, {percent(low)} to {percent(high)}"
        tip = f"Layer {layer}: shared {percent(float(shared[layer]))}, {own}"
        for top, bottom, css in ((float(shared[layer]), 0, "shared"), (0, -mean, "exclusive")):
            height = plot.y_at(bottom) - plot.y_at(top)
            plot.bar(plot.x.at(layer + 0.12), plot.x.at(layer + 0.88), plot.y_at(top), height, css, tip=tip)
        if whiskers and high > 0:
            middle = plot.x.at(layer + 0.5)
            plot.line(middle, plot.y_at(-low), middle, plot.y_at(-high), "interval")
    plot.line(0, plot.y_at(0), 100, plot.y_at(0), "axis")
    name_layers(plot, n_layers, plot.floor + 15, _LEFT)
    return plot.svg(plot.floor + 20)


def sharing_chart(study: ShownStudy) -> Markup:
    """Neurons that are in exactly 1, 2, … L languages' sets."""
    n = len(study.sets.in_exactly)
    rows = []
    for k, size in enumerate(study.sets.in_exactly, start=1):
        where = f"all {n} languages (shared)" if k == n else f"{k} of {n} languages"
        where = "one language only" if k == 1 else where
        segments = [(size, "shared" if k == n else "exclusive")]
        rows.append(BarRow(where, count(size), segments, f"{count(size)} neurons in {where}"))
    return bar_rows("Neurons by the number of languages they belong to", rows)
