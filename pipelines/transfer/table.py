"""The tables of a transfer study: intervals, verdicts, and the paper's numbers beside ours; and the pages that show them."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from polyneuron.eval.report.numbers.provenance import run_of
from polyneuron.eval.report.shell import environment
from polyneuron.eval.tables.grid import Cell, Column, Grid, grid
from polyneuron.eval.tables.text import markdown, visible
from polyneuron.eval.tasks.benchmarks import BENCHMARKS
from polyneuron.eval.verdicts.verdict import BETTER, NO_EVIDENCE, NOT_JUDGED, WORSE
from polyneuron.neuron_core.sets.variant_name import BASE, VariantName
from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.config.transfer import TransferConfig
from polyneuron.pipelines.transfer.evaluation import METRICS, NO_INTERVENTION, TransferCell
from polyneuron.pipelines.transfer.paper_b import paper_model, paper_value

Rows = Sequence[Mapping[str, Any]]
_TITLES = {"acc": "accuracy", "exact_match": "exact match", "f1": "F1"}
_HEAD = ("fine-tuned", "language")
_NULL = "null"


def transfer_grids(
    config: TransferConfig, model: ModelConfig, cells: Sequence[TransferCell], scores: Rows, verdicts: Rows
) -> list[Grid]:
    """The tables of one model, one a task, metric, detector and seed; a column for each intervention.

    scores, verdicts: rows of the store, as dictionaries.
    """
    scored = {(r["variant"], r["benchmark"], r["language"], r["metric"]): r for r in scores}
    judged = {(r["variant"], r["baseline"], r["benchmark"], r["language"], r["metric"]): r for r in verdicts}
    known = paper_model(model)

    def shown(metric: str, cell: TransferCell) -> Cell:
        if cell.null_reason is not None:
            return Cell(text=_NULL, details=(cell.null_reason,), tone="blank")
        where = (cell.task, cell.language, metric)
        found = [judged.get((str(cell.variant), str(baseline), *where)) for baseline in cell.baselines]
        words = [NOT_JUDGED if row is None else str(row["verdict"]) for row in found]
        roles = ["" if cell.mode is not None else _role(baseline) for baseline in cell.baselines]
        paper = paper_value(known, cell, metric)
        text, *missing = _score(scored.get((str(cell.variant), *where)))
        return Cell(
            text=text,
            marks=tuple(map(_verdict, words, roles)),
            details=(*missing, *(() if paper is None else (f"paper {paper:g}",))),
            tone=next((word for word in words if word in (BETTER, WORSE)), ""),
        )

    return [
        table
        for task in config.tasks
        for metric in METRICS[task.name]
        for detector in config.detectors
        for seed in config.seeds
        if (
            table := _grid(
                f"{model.label}: {BENCHMARKS[task.name].title}, {_TITLES[metric]} (%), {detector}"
                + (f", seed {seed}" if len(config.seeds) > 1 else ""),
                [c for c in cells if (c.task, c.detector) == (task.name, detector) and c.seed == seed],
                partial(shown, metric),
            )
        ).rows
    ]


def _grid(title: str, cells: Sequence[TransferCell], shown: Callable[[TransferCell], Cell]) -> Grid:
    columns = tuple(dict.fromkeys(cell.intervention for cell in cells))
    by_row: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in cells:
        by_row.setdefault((cell.tuned, cell.language), {})[cell.intervention] = shown(cell)
    rows: list[list[Cell | str]] = [
        [*head, *(held.get(name, Cell()) for name in columns)] for head, held in by_row.items()
    ]
    named = ("no intervention" if name == NO_INTERVENTION else name for name in columns)
    return grid(title, _heads(*_HEAD, *named), rows)


def _heads(*names: str) -> list[Column]:
    return [Column(text=name, align="left") for name in names]


def _role(baseline: VariantName) -> str:
    return "random" if baseline.strategy == "random" else "attention"


def _score(row: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The value with its interval, or null and why."""
    if row is None:
        return _NULL, "not scored"
    if row["value"] is None:
        return _NULL, str(row["null_reason"])
    low, high = (f"{100 * row[end]:.1f}" for end in ("low", "high"))
    unscored = f", {row['n_unscored']} not scored" if row["n_unscored"] else ""
    return (f"{100 * row['value']:.1f} [{low}, {high}]{unscored}",)


def _verdict(word: str, role: str) -> str:
    if not role:
        return word
    return f"{word} {'against' if word in (NO_EVIDENCE, NOT_JUDGED) else 'than'} {role}"


def notes(config: TransferConfig, grids: Iterable[Grid]) -> list[str]:
    """What a reader must know of the tables."""
    found = [
        f"Brackets are 95% intervals. Verdicts are paired over the same items, at level {config.alpha:g} after Holm's correction "
        f"for all comparisons of a model: an intervention is compared with none on the same model, trained neurons with "
        f"attention alone and with random ones. `{BASE}` is the model before fine-tuning."
    ]
    if any("random" in task.tuned for task in config.tasks):
        found.append(
            "Random neurons are as many in each layer as those of source and target together, so source or target alone is "
            "compared with more neurons than it has."
        )
    if config.evaluation_data == "sample":
        found.append(
            "Judged on samples written for this project, a few items each: these scores are not benchmark results."
        )
    if any(detail.startswith("paper ") for *_, cell in _cells(grids) for detail in cell.details):
        found.append(
            "The paper's constants are called as-published here. Its XNLI score is the accuracy of a classification head on a "
            "4-bit base; ours compares likelihoods."
        )
    return found


def unjudged(grids: Iterable[Grid]) -> Grid:
    """Every cell that has no number, and why."""
    rows = [(*place, cell.details[0]) for *place, cell in _cells(grids) if cell.text == _NULL]
    return grid("What has no number, and why", _heads("table", *_HEAD, "intervention", "why"), rows)


def as_markdown(title: str, grids: Sequence[Grid], remarks: Iterable[str]) -> str:
    """One page of all tables, a line to every cell's content."""
    lines = [f"# {title}", "", *(line for remark in remarks for line in (remark, ""))]
    for table in grids:
        rows = [[Cell(text="; ".join(_parts(cell))) for cell in line.cells] for line in table.rows]
        lines += [f"## {visible(table.title)}", "", markdown(grid("", table.columns, rows))]
    return "\n".join(lines)


def unfolded(table: Grid) -> Grid:
    """For a terminal, one line a cell, as a row of all interventions is too wide for one."""
    rows = []
    for _, *place, cell in _cells([table]):
        score, *rest = ["; ".join(_parts(cell))] if cell.text == _NULL else _parts(cell)
        rows.append((*place, score, "; ".join(rest)))
    return grid(table.title, _heads(*_HEAD, "intervention", "score", "verdict"), rows)


def _cells(grids: Iterable[Grid]) -> Iterator[tuple[str, str, str, str, Cell]]:
    """Every cell that says something, behind its table, what was fine-tuned, the language and the intervention."""
    for table in grids:
        for line in table.rows:
            tuned, language, *cells = line.cells
            for column, cell in zip(table.columns[len(_HEAD) :], cells, strict=True):
                if cell.text:
                    yield table.title, tuned.text, language.text, column.text, cell


def _parts(cell: Cell) -> list[str]:
    """What a cell says, a null in one with its reason."""
    details = cell.details
    text = f"{_NULL}: {details[0]}" if cell.text == _NULL else cell.text
    return [part for part in (text, *cell.marks, *details[cell.text == _NULL :]) if part]


def transfer_page(
    title: str,
    models: Sequence[str],
    grids: Sequence[Grid],
    remarks: Sequence[str],
    runs: Sequence[Mapping[str, Any]],
) -> str:
    """The page's text: every table, what has no number and why, and the runs that wrote what is shown.

    runs: rows of the store's table runs, the newest last, whose failed models are named.
    """
    failed = [row for run in runs[-1:] for row in json.loads(run["failures_json"] or "[]")]
    failures = grid(
        "Models that failed, and why",
        ["model", "what failed", "why"],
        [(row["model"], row["stage"], row["reason"]) for row in failed],
    )
    page = environment(Path(__file__).parent).get_template("transfer.html.j2")
    return page.render(
        title=title,
        models=models,
        grids=grids,
        remarks=remarks,
        failures=failures,
        nulls=unjudged(grids),
        runs=[run_of(dict(row)) for row in runs],
    )
