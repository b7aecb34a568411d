"""Store in, HTML file out: reads the study, renders the template escaped, writes the file in one move."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jinja2

from polyneuron.eval.report.numbers.provenance import failures_of, run_of
from polyneuron.eval.report.numbers.study import Report, ShownStudy, read_report
from polyneuron.eval.report.numbers.units import Readable
from polyneuron.eval.report.sections.comparison import benchmark_comparisons, comparison
from polyneuron.eval.report.sections.model import article
from polyneuron.eval.report.shell import asset, environment
from polyneuron.eval.report.words.wording import GROUP_NAMES, count, language_name
from polyneuron.eval.tables.grid import Column, Grid, grid
from polyneuron.neuron_core.common.errors import StoreError


def write_report(
    store: Readable, out: str | Path, title: str = "Polyneuron study", run: str | None = None
) -> Path:
    """Writes the report of what ``run`` studied to ``out`` and returns its path.

    None shows, of each model, the newest run that reached a selection, and completes it from older runs with the same
    selection. The same store gives the same bytes. Raises StoreError when there is no such run, when tables contradict
    each other, or when ``out`` cannot be written.
    """
    path = Path(out)
    page = render(read_report(store, run), title)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(page, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise StoreError(
            f"The report cannot be written to {path}: {error.strerror}. Name another file, or make room."
        ) from error
    return path


def render(report: Report, title: str) -> str:
    """The whole page as text."""
    templates = sentences()
    runs, failures = [run_of(row) for row in report.runs], failures_of(report.runs)
    return templates.get_template("page.html.j2").render(
        title=title,
        articles=[article(study, f"m{i}") for i, study in enumerate(report.studies)],
        languages=list(dict.fromkeys(code for study in report.studies for code in study.languages)),
        last=max((run for run in runs if run.finished), key=lambda run: run.finished or "", default=None),
        failures=failures,
        failed=grid(
            "Models that failed, and why",
            ["model", "what failed", Column(text="why", align="left"), Column(text="run", code=True)],
            [[failure.model, failure.stage, failure.reason, failure.run_id] for failure in failures],
        ),
        comparison=comparison(report.studies),
        by_benchmark=benchmark_comparisons(report.studies),
        corpora=[corpus_grid(study) for study in report.studies],
        runs=runs,
        group_names=GROUP_NAMES,
        script=asset("explorer.js"),
    )


def sentences() -> jinja2.Environment:
    """The report's templates, with filters that say a finding (``said``) and an omission (``omitted``)."""
    templates = environment()

    def macro_of(template: str, kind: str) -> Any:
        return getattr(templates.get_template(template).module, kind)

    templates.filters |= {
        "said": lambda finding: macro_of("findings.html.j2", finding.kind)(finding.values),
        "omitted": lambda omission: macro_of("omission_words.html.j2", omission.kind)(omission.values),
    }
    return templates


def corpus_grid(study: ShownStudy) -> Grid:
    """The texts that a model was studied with, and where they come from."""
    columns = ("n_detection", "n_tokens_detection", "n_heldout", "n_tokens_heldout")
    heads = ["language", "detection sentences", "tokens", "held-out sentences", "tokens"]
    rows = []
    for row in study.rows["corpora"]:
        revision = f" @ {row['revision']}" if row["revision"] else ""
        source = f"{row['source']}{revision} · {row['sha'][:12]}"
        rows.append([language_name(row["language"]), *(count(row[name]) for name in columns), source])
    return grid("Corpora", [*heads, Column(text="source", align="left", code=True)], rows)
