"""The parts on the sets: how large they are, how much the languages overlap, and how large the sets are under other thresholds:
a slider over counts that were made once."""

from typing import Any

import numpy as np

from polyneuron.eval.report.charts import sets as drawn
from polyneuron.eval.report.numbers.curves import STUDY, Curves
from polyneuron.eval.report.numbers.estimates import noise_floor_of
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.units import Row
from polyneuron.eval.report.words.wording import DASH, count, language_name, number
from polyneuron.eval.tables.grid import SHADES, Cell, Column, Grid, grid, line

_COUNTED = {"shared": "shared", "exclusive": "exclusive", "strict": "strictly", "related": "related"}
_KINDS = {"exclusive": "exclusive", "strict_exclusive": "strictly exclusive"}


def sets_part(study: ShownStudy) -> dict[str, Any]:
    """The counts with their noise floor, and how much the languages have in common."""
    noise = noise_floor_of(study)
    return {
        "chart": drawn.fraction_chart(study),
        "sharing": drawn.sharing_chart(study),
        "overlap": overlap_grid(study),
        "table": size_grid(study),
        "noise": noise.rows["exclusive", ""] if noise else None,
        "noise_missing": noise.reason if noise else "it was not measured",
    }


def size_grid(study: ShownStudy) -> Grid:
    """Languages down; across, how many neurons each needs, and its own sets with their noise floor where it was measured."""
    noise = noise_floor_of(study)
    heads: list[Column | str] = ["language", "needed"]
    for name in _KINDS.values():
        heads += [
            Column(text=text, over=name) for text in ("neurons", *(("by chance", "p") if noise else ()))
        ]
    rows = []
    for code in study.languages:
        cells = [Cell(text=count(study.sets.total("related", code)))]
        for kind in _KINDS:
            cells.append(Cell(text=count(study.sets.total(kind, code))))
            if noise:
                cells += _noise_cells(noise.rows.get((kind, code)), noise.adjusted.get((kind, code)))
        rows.append(line(language_name(code), *cells))
    return grid("Neurons of every language", heads, rows)


def _noise_cells(row: Row | None, adjusted: float | None) -> list[Cell]:
    """The size by chance with its range, and its p-value, adjusted where that is known."""
    if row is None or row["chance_size"] is None:
        return [Cell(text=DASH)] * 2

    def rough(value: float | None) -> str:
        return "< 0.1" if value is not None and 0 < value < 0.1 else number(value, 2)

    p = row["p_value"] if adjusted is None else adjusted
    spread = f"{rough(row['chance_low'])}–{rough(row['chance_high'])}"
    return [Cell(text=rough(row["chance_size"]), details=(spread,)), Cell(text=number(p, 2))]


def overlap_grid(study: ShownStudy) -> Grid:
    """Jaccard similarities of the languages' related sets."""
    rows = []
    for code, values in zip(study.languages, study.sets.jaccard, strict=True):
        cells = [
            Cell(text=DASH, shade=0) if np.isnan(v) else Cell(text=f"{v:.2f}", shade=round(SHADES * float(v)))
            for v in values
        ]
        rows.append(line(language_name(code), *cells))
    heads = ["language", *map(language_name, study.languages)]
    return grid("Jaccard similarity of the languages' related sets", heads, rows, tone="heat")


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
