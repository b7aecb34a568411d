"""The parts on the sets: how large they are, in which layers they lie, and how much the languages overlap."""

from typing import Any

import numpy as np

from polyneuron.eval.report.charts.sets import WHISKERS_UP_TO, fraction_chart, layer_chart, sharing_chart
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.words.wording import DASH, count, language_name, number, percent
from polyneuron.eval.tables.grid import SHADES, Cell, Grid, grid, line

_KINDS = {"exclusive": "exclusive", "strict_exclusive": "strictly exclusive", "related": "related"}


def sets_part(study: ShownStudy) -> dict[str, Any]:
    """Fractions of all measured neurons and of each group, and the counts."""
    charts = {group: fraction_chart(study, group) for group in study.anatomy.groups}
    total, table = study.anatomy.n_neurons, size_grid(study)
    return {"total": total, "chart": fraction_chart(study), "charts": charts, "table": table}


def size_grid(study: ShownStudy) -> Grid:
    """Neurons per set and group."""
    rows = []
    named = [("shared", "", "shared")]
    named += [
        (kind, c, f"{words}, {language_name(c)}") for kind, words in _KINDS.items() for c in study.languages
    ]
    total = study.anatomy.n_neurons
    for kind, language, name in named:
        table = study.sets.counts[kind, language]
        size = int(table.sum())
        rows.append(
            [name, *map(count, table.sum(axis=1)), count(size), percent(size / total if total else None)]
        )
    return grid("Neurons per set and group", ["set", *study.anatomy.groups, "all", "of measured"], rows)


def layers_part(study: ShownStudy) -> dict[str, Any]:
    """Shared and exclusive neurons in each layer, group by group."""
    charts = {group: layer_chart(study, group) for group in study.anatomy.groups}
    ranges = study.anatomy.n_layers <= WHISKERS_UP_TO
    return {"ranges": ranges, "charts": charts, "table": layer_grid(study)}


def layer_grid(study: ShownStudy) -> Grid:
    """Shared neurons and the mean of exclusive ones over languages, by layer."""
    groups = study.anatomy.groups
    shared = study.sets.counts["shared", ""]
    exclusive = [study.sets.counts["exclusive", code] for code in study.languages] or [0 * shared]
    mean = np.mean(exclusive, axis=0)
    rows = []
    for layer in range(study.anatomy.n_layers):
        pairs = zip(shared[:, layer].tolist(), mean[:, layer].tolist(), strict=True)
        rows.append([str(layer), *(words for own, other in pairs for words in (count(own), number(other)))])
    heads = [f"{group} {kind}" for group in groups for kind in ("shared", "exclusive")]
    return grid("Neurons per layer", ["layer", *heads], rows)


def overlap_part(study: ShownStudy) -> dict[str, Any]:
    """Jaccard similarities of the languages' related sets, and how many languages a neuron belongs to."""
    rows = []
    for code, values in zip(study.languages, study.sets.jaccard, strict=True):
        cells = [
            Cell(text=DASH, shade=0) if np.isnan(v) else Cell(text=f"{v:.2f}", shade=round(SHADES * float(v)))
            for v in values
        ]
        rows.append(line(language_name(code), *cells))
    heads = ["language", *map(language_name, study.languages)]
    table = grid("Jaccard similarity of the languages' related sets", heads, rows, tone="heat")
    return {"table": table, "chart": sharing_chart(study)}
