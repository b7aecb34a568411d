"""The part on other thresholds: a slider over counts that were made once."""

from typing import Any

from polyneuron.eval.report.charts.thresholds import threshold_chart
from polyneuron.eval.report.numbers.curves import STUDY, Curves
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.words.wording import count, number
from polyneuron.eval.tables.grid import Cell, Grid, grid, line

_KINDS = {"shared": "shared", "exclusive": "exclusive", "strict": "strictly", "related": "related"}


def thresholds_part(study: ShownStudy, page_id: str) -> dict[str, Any]:
    """What the slider reads, its picture, and the table it starts from, which is right without script too."""
    curves = study.curves
    if isinstance(curves, str):
        return {"payload": None, "missing": curves}
    bars = [study.thresholds[group] for group in curves.groups if group in study.thresholds]
    thresholds = bars if len(bars) == len(curves.groups) else None
    return {
        "payload": {**curves.payload(), "thresholds": thresholds},
        "chart": threshold_chart(curves, f"{page_id}-marker"),
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
        cells = [Cell(text=count(sizes[kind][g]), key=f"{g}.{kind}") for kind in _KINDS]
        cells += [Cell(text=number(thresholds[g]), key=f"{g}.threshold")] if thresholds else []
        rows.append(line(group, *cells))
    total = [Cell(text=count(sizes[kind].sum()), key=f"all.{kind}") for kind in _KINDS]
    rows.append(line("all groups", *total, *([Cell()] if thresholds else [])))
    heads = ["group", *_KINDS.values(), *(["threshold"] if thresholds else [])]
    title = "Set sizes at the chosen threshold"
    return grid(title, heads, rows, tone="tight", id=f"{page_id}-sizes")
