"""The parts on the sets: how large they are, in which layers they lie, how much the languages overlap, and how large the sets
are under other thresholds: a slider over counts that were made once."""

from typing import Any

import numpy as np

from polyneuron.eval.report.charts import sets as drawn
from polyneuron.eval.report.numbers.curves import STUDY, Curves
from polyneuron.eval.report.numbers.estimates import noise_floor_of
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.units import Row
from polyneuron.eval.report.words.wording import DASH, count, language_name, number, percent, span
from polyneuron.eval.tables.grid import SHADES, Cell, Grid, grid, line

_COUNTED = {"shared": "shared", "exclusive": "exclusive", "strict": "strictly", "related": "related"}
_KINDS = {"exclusive": "exclusive", "strict_exclusive": "strictly exclusive", "related": "related"}


def sets_part(study: ShownStudy) -> dict[str, Any]:
    """Fractions of all measured neurons and of each group, and the counts with their noise floor."""
    charts = {group: drawn.fraction_chart(study, group) for group in study.anatomy.groups}
    total, table = study.anatomy.n_neurons, size_grid(study)
    noise = noise_floor_of(study)
    return {
        "total": total,
        "chart": drawn.fraction_chart(study),
        "charts": charts,
        "table": table,
        "noise": noise.rows["exclusive", ""] if noise else None,
        "noise_missing": noise.reason if noise else "it was not measured",
    }


def size_grid(study: ShownStudy) -> Grid:
    """Neurons per set and group, how many tokens were read at a time when they were found, and the noise floor of each set."""
    rows, tokens, noise = list[list[Cell | str]](), study.detection_tokens(), noise_floor_of(study)
    named = [("shared", "", "shared")]
    named += [
        (kind, c, f"{words}, {language_name(c)}") for kind, words in _KINDS.items() for c in study.languages
    ]
    total = study.anatomy.n_neurons
    for kind, language, name in named:
        table = study.sets.counts[kind, language]
        size = int(table.sum())
        share = percent(size / total if total else None)
        length = number(tokens[language], 3) if language in tokens else ""
        rows.append([name, *map(count, table.sum(axis=1)), count(size), share, length])
        if noise is not None:
            rows[-1] += _noise_cells(noise.rows.get((kind, language)), noise.adjusted.get((kind, language)))
    heads = ["set", *study.anatomy.groups, "all", "of measured", "tokens at a time"]
    if noise is not None:
        heads += ["by chance", "p", "halves alike"]
    return grid("Neurons per set and group", heads, rows)


def _noise_cells(row: Row | None, adjusted: float | None) -> list[Cell]:
    """The size by chance with its range, its p-value with the one that Holm adjusts, and the Jaccard of halves."""
    if row is None or row["chance_size"] is None:
        return [Cell(text=DASH)] * 3 if row else [Cell()] * 3

    def rough(value: float | None) -> str:
        return "< 0.1" if value is not None and 0 < value < 0.1 else number(value, 2)

    alike = span(row["jaccard_low"], row["jaccard_high"], lambda value: f"{value:.2f}")
    return [
        Cell(text=rough(row["chance_size"]), details=(span(row["chance_low"], row["chance_high"], rough),)),
        Cell(
            text=number(row["p_value"], 2),
            details=() if adjusted is None else (f"adjusted {number(adjusted, 2)}",),
        ),
        Cell(text=DASH)
        if row["jaccard"] is None
        else Cell(text=f"{row['jaccard']:.2f}", details=(alike, f"random {row['jaccard_chance']:.2f}")),
    ]


def layers_part(study: ShownStudy) -> dict[str, Any]:
    """Shared and exclusive neurons in each layer, group by group."""
    charts = {group: drawn.layer_chart(study, group) for group in study.anatomy.groups}
    ranges = study.anatomy.n_layers <= drawn.WHISKERS_UP_TO
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
    return {"table": table, "chart": drawn.sharing_chart(study)}


def thresholds_part(study: ShownStudy, page_id: str) -> dict[str, Any]:
    """What the slider reads, its picture, and the table it starts from, which is right without script too."""
    curves = study.curves
    if isinstance(curves, str):
        return {"payload": None, "missing": curves}
    bars = [study.thresholds[group] for group in curves.groups if group in study.thresholds]
    thresholds = bars if len(bars) == len(curves.groups) else None
    return {
        "payload": {**curves.payload(), "thresholds": thresholds},
        "chart": drawn.threshold_chart(curves, f"{page_id}-marker"),
        "table": threshold_grid(curves, thresholds, page_id),
        "languages": curves.languages,
    }


def threshold_grid(curves: Curves, thresholds: list[float] | None, page_id: str) -> Grid:
    """Set sizes at the study's threshold; a script finds each cell by its group and kind."""
    sizes = {
        "shared": curves.shared[:, STUDY],
        "exclusive": curves.exclusive()[:, :, STUDY].mean(axis=1),
        "strict": curves.strict[:, :, STUDY].mean(axis=1),
        "related": curves.related[:, :, STUDY].mean(axis=1),
    }
    rows = []
    for g, group in enumerate(curves.groups):
        cells = [Cell(text=count(sizes[kind][g]), key=f"{g}.{kind}") for kind in _COUNTED]
        cells += [Cell(text=number(thresholds[g]), key=f"{g}.threshold")] if thresholds else []
        rows.append(line(group, *cells))
    total = [Cell(text=count(sizes[kind].sum()), key=f"all.{kind}") for kind in _COUNTED]
    rows.append(line("all groups", *total, *([Cell()] if thresholds else [])))
    heads = ["group", *_COUNTED.values(), *(["threshold"] if thresholds else [])]
    title = "Set sizes at the chosen threshold"
    return grid(title, heads, rows, tone="tight", id=f"{page_id}-sizes")
