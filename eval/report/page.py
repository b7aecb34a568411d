"""Store in, HTML file out: gathers the data, renders the template escaped, writes the file in one move."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from polyneuron.eval.report.charts.benchmarks import LEGEND
from polyneuron.eval.report.numbers.provenance import run_of
from polyneuron.eval.report.numbers.study import Readable, Report, read_report
from polyneuron.eval.report.sections.compare import compare
from polyneuron.eval.report.sections.compare_benchmarks import compare_benchmarks
from polyneuron.eval.report.sections.model_page import model_page
from polyneuron.eval.report.shell import asset, environment
from polyneuron.eval.report.words import wording
from polyneuron.neuron_core.common.errors import StoreError


def write_report(
    store: Readable,
    out: str | Path,
    title: str = "Polyneuron study",
    units: Collection[str] | None = None,
) -> Path:
    """Write the report of everything in ``store`` to ``out`` and return its path.

    ``units``: keys of the units of work to read, so that a study can share its store with others; None
    reads all, and takes the newest run's where a measurement was made more than once.

    The same store gives the same bytes. Raises StoreError when the store holds no selection yet, when its
    tables contradict each other, or when ``out`` cannot be written.
    """
    path = Path(out)
    page = render(read_report(store, units), title)
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
    templates = environment()
    templates.filters |= {
        "count": wording.count,
        "number": wording.number,
        "percent": wording.percent,
        "language": wording.language_name,
    }
    models = [model_page(study, i) for i, study in enumerate(report.studies)]
    return templates.get_template("page.html.j2").render(
        title=title,
        subtitle=_subtitle(report),
        models=models,
        failures=report.failures,
        comparison=compare(report.studies),
        by_benchmark=compare_benchmarks(report.studies),
        chart_legend=LEGEND,
        runs=[run_of(row) for row in report.runs],
        group_names=list(wording.GROUP_NAMES.items()),
        script=asset("explorer.js"),
    )


def _subtitle(report: Report) -> str:
    names = [study.model for study in report.studies]
    languages = list(dict.fromkeys(lang for study in report.studies for lang in study.languages))
    what = names[0] if len(names) == 1 else f"{len(names)} models"
    words = f"{what} in {wording.listing([wording.language_name(lang) for lang in languages])}"
    finished = [run_of(row).finished for row in report.runs if row["finished_at"] is not None]
    return f"{words}. Last run finished {max(finished)}." if finished else f"{words}."
