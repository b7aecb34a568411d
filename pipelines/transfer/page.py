"""The report of a transfer study: one HTML page that loads nothing, with the style of the study's report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyneuron.eval.report.numbers.provenance import run_of
from polyneuron.eval.report.shell import environment
from polyneuron.eval.tables.grid import Grid, grid
from polyneuron.pipelines.transfer.table import unjudged


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
        tone="pairs",
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
