"""Store in, HTML file out: reads the studies, makes an article of each, and writes the page in one move."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from polyneuron.eval.report.numbers.benchmarks import results_of
from polyneuron.eval.report.numbers.effects import effects_of
from polyneuron.eval.report.numbers.provenance import failures_of, run_of
from polyneuron.eval.report.numbers.study import Report, ShownStudy, read_report
from polyneuron.eval.report.numbers.trained_effects import trained_effects
from polyneuron.eval.report.results_file import RESULTS_FILE, results_json
from polyneuron.eval.report.sections.benchmarks import benchmarks_part
from polyneuron.eval.report.sections.comparison import benchmark_comparisons, comparison
from polyneuron.eval.report.sections.methods import methods_part
from polyneuron.eval.report.sections.neurons import map_part
from polyneuron.eval.report.sections.perplexity import answer_figure, answer_legend, perplexity_part
from polyneuron.eval.report.sections.scores import scores_part
from polyneuron.eval.report.sections.sets import sets_part, thresholds_part
from polyneuron.eval.report.sections.training import training_part
from polyneuron.eval.report.shell import asset, environment
from polyneuron.eval.report.words.answer import answer_of
from polyneuron.eval.report.words.benchmark_findings import benchmark_findings
from polyneuron.eval.report.words.findings import Finding, findings_of
from polyneuron.eval.report.words.method_findings import method_findings
from polyneuron.eval.report.words.omissions import omissions_of
from polyneuron.eval.report.words.training_findings import training_findings
from polyneuron.eval.report.words.wording import GROUP_NAMES, count, language_name
from polyneuron.eval.store.store import Store
from polyneuron.eval.tables.grid import Column, Grid, grid
from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.neuron_core.common.files import remove, temporary_beside

_SAID = re.compile(r"\s*(<b>.*?</b>)\s*<span>(.*)</span>\s*", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Article:
    """What the page says and shows of one model."""

    id: str
    """Made of the model's name, so that links outlive the report."""
    study: ShownStudy
    """What it is about."""
    answer: dict[str, Any]
    """What stands on the first screen."""
    figure: list[dict[str, Any]]
    """The panels of the figure there."""
    legend: list[tuple[str, str, str]]
    """Class, shape and words of what it shows."""
    findings: list[Finding]
    """One headline each, shown in the part that it is about."""
    parts: dict[str, dict[str, Any]]
    """From top to bottom what a template shows, by its name without its ending; links lead there by it."""


def write_report(
    store: Store, out: str | Path, title: str = "Polyneuron study", run: str | None = None
) -> Path:
    """Writes the report of what ``run`` studied to ``out``, and its numbers to `results.json` beside it; returns ``out``.

    None shows, of each model, the newest run that reached a selection, and completes it from older runs with the same
    selection. The same store gives the same bytes. Raises StoreError when there is no such run, when tables contradict
    each other, or when ``out`` cannot be written.
    """
    return write_pages(read_report(store, run), out, title)


def write_pages(report: Report, out: str | Path, title: str) -> Path:
    """As `write_report`, of a report that is read already."""
    path = Path(out)
    _write(path, render(report, title))
    _write(path.with_name(RESULTS_FILE), results_json(report))
    return path


def _write(path: Path, text: str) -> None:
    part = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise StoreError(
            f"The report cannot be written to {path}: {error.strerror}. Name another file, or make room."
        ) from error
    finally:
        remove(part)


def render(report: Report, title: str) -> str:
    """The whole page as text."""
    templates = sentences()
    failures = failures_of(report.runs)
    ids = page_ids([study.model for study in report.studies])
    return templates.get_template("page.html.j2").render(
        title=title,
        articles=[article(study, id) for study, id in zip(report.studies, ids, strict=True)],
        languages=list(dict.fromkeys(code for study in report.studies for code in study.languages)),
        failures=failures,
        failed=grid(
            "Models that failed, and why",
            ["model", "what failed", Column(text="why", align="left"), Column(text="run", code=True)],
            [[failure[name] for name in ("model", "stage", "reason", "run_id")] for failure in failures],
        ),
        comparison=comparison(report.studies),
        by_benchmark=benchmark_comparisons(report.studies),
        corpora=[corpus_grid(study) for study in report.studies],
        runs=[run_of(row) for row in report.runs],
        group_names=GROUP_NAMES,
        results=Markup(results_json(report, None).replace("<", "\\u003c")),
        script=asset("page.js") + asset("neurons.js") + asset("neuron.js") + asset("explorer.js"),
    )


def article(study: ShownStudy, id: str) -> Article:
    """Every chart drawn and every table filled, ready for the template."""
    effects, results = effects_of(study.variants), results_of(study)
    trained = results.of_training(True) if results and study.trainings else None
    untrained = results.of_training(False) if results and study.trainings else results
    findings = findings_of(study, effects)
    parts = {
        "map": map_part(study),
        "sets": sets_part(study),
        "perplexity": perplexity_part(study, effects),
        "scores": scores_part(study),
        "thresholds": thresholds_part(study, id),
    }
    if results and untrained:
        findings += benchmark_findings(untrained)
        parts["benchmarks"] = benchmarks_part(untrained, len(untrained.variants) < len(results.variants))
    if study.trainings:
        changed = trained_effects(study, effects)
        findings += training_findings(study, changed, trained)
        parts["training"] = training_part(study, effects, changed, trained)
    if study.others is not None:
        findings += method_findings(study.others)
        parts["methods"] = methods_part(study.others)
    parts["omissions"] = {"omissions": omissions_of(study, effects)}
    return Article(
        id=id,
        study=study,
        answer=answer_of(study, effects, findings),
        figure=answer_figure(study, effects),
        legend=answer_legend(study, effects),
        findings=findings,
        parts=parts,
    )


def page_ids(models: Sequence[str]) -> list[str]:
    """An id for each model, made of its name, and numbered where two names come to the same."""
    found: list[str] = []
    for model in models:
        name = re.sub("[^a-z0-9]+", "-", model.lower()).strip("-") or "model"
        same = sum(re.fullmatch(rf"{name}(-no\d+)?", other) is not None for other in found)
        found.append(f"{name}-no{same + 1}" if same else name)
    return found


def sentences() -> jinja2.Environment:
    """The report's templates, with a filter ``said`` that says a finding by the macro of a template, and two that take what was
    said apart: its ``headline``, and the ``evidence``, which may be empty."""
    templates = environment()

    def said(finding: Finding, template: str = "findings.html.j2") -> Any:
        return getattr(templates.get_template(template).module, finding.kind)(finding.values)

    templates.filters["said"] = said
    templates.filters["headline"] = lambda words: Markup(_SAID.sub(r"\1", str(words)).strip())
    templates.filters["evidence"] = lambda words: Markup(_SAID.sub(r"\2", str(words)).strip())
    return templates


def corpus_grid(study: ShownStudy) -> Grid:
    """The texts that a model was studied with, and where they come from."""
    columns = ("n_detection", "n_tokens_detection", "n_heldout", "n_tokens_heldout")
    heads = ["language", "detection reads", "tokens", "held-out sentences", "tokens"]
    rows = []
    for row in study.rows["corpora"]:
        revision = f" @ {row['revision']}" if row["revision"] else ""
        source = f"{row['source']}{revision} · {row['sha'][:12]}"
        numbers = [count(row[name]) for name in columns]
        numbers[0] += f" {row['detect_in']}"
        rows.append([language_name(row["language"]), *numbers, source])
    return grid("Corpora", [*heads, Column(text="source", align="left", code=True)], rows)
