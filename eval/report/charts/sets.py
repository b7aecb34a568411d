"""Charts of the sets: the paper's Figure 2, how many languages a neuron belongs to, and sizes over the threshold, both axes
logarithmic."""

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from polyneuron.eval.report.charts.frame import BarRow, Plot, bar_rows
from polyneuron.eval.report.charts.svg import Axis
from polyneuron.eval.report.numbers.curves import MULTIPLIERS, Curves
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.words.wording import count, language_name

_NAMED = {1 / 16: "×1/16", 1 / 4: "×1/4", 1.0: "the study", 4.0: "×4", 16.0: "×16"}


def fraction_chart(study: ShownStudy) -> Markup:
    """Shared and exclusive neurons of each language."""
    counts, rows = study.sets.counts, []
    for language in study.languages:
        sizes = {
            "shared": int(counts["shared", ""].sum()),
            "exclusive": int(counts["exclusive", language].sum()),
        }
        words, name = " + ".join(map(count, sizes.values())), language_name(language)
        tip = ", ".join(f"{count(n)} {kind}" for kind, n in sizes.items())
        rows.append(BarRow(name, words, [(n, kind) for kind, n in sizes.items()], f"{name}: {tip}"))
    return bar_rows(f"Shared and exclusive neurons of {len(study.languages)} languages", rows)


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


def threshold_chart(curves: Curves, marker_id: str) -> Markup:
    """Shared, mean exclusive and mean related neurons; ``marker_id`` names the line the slider moves."""
    lines = {
        "related": curves.related.sum(axis=0).mean(axis=0),
        "exclusive": curves.exclusive().sum(axis=0).mean(axis=0),
        "shared": curves.shared.sum(axis=0).astype(float),
    }
    plot = Plot(
        "Shared, exclusive and related neurons as the threshold grows; the table below has the numbers",
        Axis(float(MULTIPLIERS[0]), float(MULTIPLIERS[-1]), log=True, pad_percent=0),
        Axis(1.0, max(10.0, float(lines["related"].max())), log=True, pad_percent=0),
        top=8,
        height=210,
    )
    end = 0.0 if curves.certified_from is None else plot.x.at(curves.certified_from)
    if end > 0:
        tip = "below the certified floor: upper bounds"
        plot.bar(0, end, plot.top, plot.height, "uncertified", tip=tip)
    plot.grid(_NAMED.items(), most=5)
    if end > 22:
        plot.text(0.5, plot.floor - 6, "upper bounds only", "tick halo", dx=10)
    for name, values in lines.items():  # an empty set has no place on a logarithmic axis
        pairs = zip(MULTIPLIERS.tolist(), values.tolist(), strict=True)
        plot.curve([(m, n) for m, n in pairs if n >= 1], f"line-{name}")
    at = plot.x.at(1.0)
    plot.line(at, plot.top, at, plot.floor, "marker", id=marker_id)
    plot.name_lines(count, most=5)
    _name_curves(plot, lines)
    return plot.svg(plot.floor + 22)


def _name_curves(plot: Plot, lines: dict[str, NDArray[np.float64]]) -> None:
    """Names where the falling lines leave room: the upper ones to their right, the lowest to its left. They stand past the
    study's threshold, at the last point where every line that starts above one still is."""
    alive = {name: values for name, values in lines.items() if values.max() >= 1}
    if not alive:
        return
    still = np.flatnonzero(np.min(list(alive.values()), axis=0) >= 1)
    place = min(len(MULTIPLIERS) * 5 // 8, int(still[-1]) if len(still) else 0)
    at = plot.x.at(float(MULTIPLIERS[place]))
    ordered = sorted(alive, key=lambda name: -float(alive[name][place]))
    ys = [plot.y_at(max(1.0, float(alive[name][place]))) for name in ordered]
    upper = ordered[:-1] or ordered
    y = max(10.0, min(ys[0], ys[len(upper) - 1] - 14 * (len(upper) - 1)) - 2)
    for name in upper:
        plot.text(at, y, name, "label halo", dx=7)
        y += 15
    if len(ordered) > 1:
        anchor, dx = ("end", -9) if at > 22 else ("start", 7)
        plot.text(at, min(max(ys[-1] + 12, y + 2), plot.floor - 4), ordered[-1], "label halo", anchor, dx=dx)
