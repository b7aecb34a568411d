"""The tables of a transfer study, as Markdown and for a terminal: intervals, verdicts, and the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.table import Table
from rich.text import Text

from polyneuron.eval.tasks.benchmarks import BENCHMARKS
from polyneuron.neuron_core.sets.variant_name import BASE, VariantName
from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.config.transfer import TransferConfig
from polyneuron.pipelines.transfer.evaluation import TransferCell
from polyneuron.pipelines.transfer.paper_b import paper_model, paper_value
from polyneuron.pipelines.transfer.verdicts import METRICS

Rows = Sequence[Mapping[str, Any]]
_TITLES = {"acc": "accuracy", "exact_match": "exact match", "f1": "F1"}
_HEAD = ("fine-tuned", "language")


@dataclass(frozen=True)
class Grid:
    """One table; every row begins with what was fine-tuned and the language."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def transfer_grids(
    config: TransferConfig, model: ModelConfig, cells: Sequence[TransferCell], scores: Rows, verdicts: Rows
) -> list[Grid]:
    """The tables of one model, one a task, metric, detector and seed.

    scores, verdicts: rows of the store, as dictionaries.
    """
    scored = {(r["variant"], r["benchmark"], r["language"], r["metric"]): r for r in scores}
    judged = {(r["variant"], r["baseline"], r["benchmark"], r["language"], r["metric"]): r for r in verdicts}
    known = paper_model(model)

    def text(metric: str, cell: TransferCell) -> str:
        if cell.null_reason is not None:
            return f"null: {cell.null_reason}"
        found = [_score(scored.get((str(cell.variant), cell.task, cell.language, metric)))]
        for baseline in cell.baselines:
            verdict = judged.get((str(cell.variant), str(baseline), cell.task, cell.language, metric))
            found.append(_verdict(verdict, "" if cell.mode is not None else _role(baseline)))
        if (value := paper_value(known, cell, metric)) is not None:
            found.append(f"paper {value:g}")
        return "; ".join(part for part in found if part)

    return [
        grid
        for task in config.tasks
        for metric in METRICS[task.name]
        for detector in config.detectors
        for seed in config.seeds
        if (
            grid := _grid(
                f"{model.label}: {BENCHMARKS[task.name].title}, {_TITLES[metric]} (%), {detector}"
                + (f", seed {seed}" if len(config.seeds) > 1 else ""),
                [c for c in cells if (c.task, c.detector) == (task.name, detector) and c.seed == seed],
                partial(text, metric),
            )
        ).rows
    ]


def _grid(title: str, cells: Sequence[TransferCell], text: Callable[[TransferCell], str]) -> Grid:
    columns = tuple(dict.fromkeys(cell.intervention for cell in cells))
    by_row: dict[tuple[str, str], dict[str, str]] = {}
    for cell in cells:
        by_row.setdefault((cell.tuned, cell.language), {})[cell.intervention] = text(cell)
    rows = tuple((*head, *(found.get(name, "") for name in columns)) for head, found in by_row.items())
    named = ("no intervention" if name == "none" else name for name in columns)
    return Grid(title, (*_HEAD, *named), rows)


def _role(baseline: VariantName) -> str:
    return "random" if baseline.strategy == "random" else "attention"


def _score(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "null: not scored"
    if row["value"] is None:
        return f"null: {row['null_reason']}"
    low, high = (f"{100 * row[end]:.1f}" for end in ("low", "high"))
    unscored = f", {row['n_unscored']} not scored" if row["n_unscored"] else ""
    return f"{100 * row['value']:.1f} [{low}, {high}]{unscored}"


def _verdict(row: Mapping[str, Any] | None, role: str) -> str:
    words = "not judged" if row is None else str(row["verdict"])
    if not role:
        return words
    return f"{words} {'against' if words in ('no evidence', 'not judged') else 'than'} {role}"


def notes(config: TransferConfig, grids: Iterable[Grid]) -> list[str]:
    """What a reader must know of the tables."""
    found = [
        f"Brackets: 95% intervals. Verdicts: paired over the same items, Holm over all of a model's comparisons, alpha "
        f"{config.alpha:g}; an intervention against none on the same model, trained neurons against attention alone and random "
        f"ones. `{BASE}` is the model before fine-tuning."
    ]
    if config.evaluation_data == "sample":
        found.append("Judged on samples written for this project, a few items each: no benchmark.")
    if any("paper" in text for grid in grids for row in grid.rows for text in row):
        found.append(
            "The paper's constants are those called as-published here; its XNLI is a classification head's accuracy, ours "
            "compares likelihoods, and its base is in 4 bits."
        )
    return found


def as_markdown(title: str, grids: Sequence[Grid], remarks: Iterable[str]) -> str:
    """A page."""
    lines = [f"# {title}", ""]
    for remark in remarks:
        lines += [remark, ""]
    for grid in grids:
        lines += [f"## {grid.title}", "", _line(grid.columns), _line("---" for _ in grid.columns)]
        lines += [*(_line(row) for row in grid.rows), ""]
    return "\n".join(lines)


def _line(texts: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in texts) + " |"


def as_rich(grid: Grid) -> Table:
    """For a terminal, one line a cell, as a row of all interventions is too wide for one."""
    table = Table(*_HEAD, "intervention", "score", "verdict", title=grid.title, title_justify="left")
    for row in grid.rows:
        head, texts = row[: len(_HEAD)], row[len(_HEAD) :]
        for name, text in zip(grid.columns[len(_HEAD) :], texts, strict=True):
            if text:
                score, *rest = [text] if text.startswith("null: ") else text.split("; ")
                table.add_row(*map(Text, (*head, name, score, "; ".join(rest))))
    return table
