"""Store in, HTML file out: reads the studies, makes an article of each, and writes the page in one move."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from polyneuron.eval.report.numbers.benchmarks import results_of
from polyneuron.eval.report.numbers.effects import effects_of
from polyneuron.eval.report.numbers.provenance import failures_of, run_of
from polyneuron.eval.report.numbers.study import Report, ShownStudy, read_report
from polyneuron.eval.report.numbers.trained_effects import trained_effects
from polyneuron.eval.report.results_file import RESULTS_FILE, results_json
from polyneuron.eval.report.sections.benchmarks import benchmarks_part
from polyneuron.eval.report.sections.comparison import benchmark_comparisons, comparison
from polyneuron.eval.report.sections.methods import methods_part
from polyneuron.eval.report.sections.perplexity import perplexity_part
from polyneuron.eval.report.sections.scores import scores_part
from polyneuron.eval.report.sections.sets import layers_part, overlap_part, sets_part, thresholds_part
from polyneuron.eval.report.sections.training import training_part
from polyneuron.eval.report.shell import asset, environment
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


@dataclass(frozen=True, slots=True)
class Article:
    """What the page says and shows of one model. ``id`` keeps the places of several models on one page apart; ``parts``, from
    top to bottom: what a template shows, by its name without its ending, to which links lead too."""

    id: str
    study: ShownStudy
    findings: list[Finding]
    parts: dict[str, dict[str, Any]]


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
    return templates.get_template("page.html.j2").render(
        title=title,
        articles=[article(study, f"m{i}") for i, study in enumerate(report.studies)],
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
        script=asset("explorer.js"),
    )


def article(study: ShownStudy, id: str) -> Article:
    """Every chart drawn and every table filled, ready for the template."""
    effects, results = effects_of(study.variants), results_of(study)
    trained = results.of_training(True) if results and study.trainings else None
    untrained = results.of_training(False) if results and study.trainings else results
    findings = findings_of(study, effects)
    parts = {
        "sets": sets_part(study),
        "layers": layers_part(study),
        "perplexity": perplexity_part(study, effects),
        "overlap": overlap_part(study),
        "thresholds": thresholds_part(study, id),
        "scores": scores_part(study),
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
    return Article(id, study, findings, parts)


def sentences() -> jinja2.Environment:
    """The report's templates, with a filter ``said`` that says a finding by the macro of a template."""
    templates = environment()

    def said(finding: Finding, template: str = "findings.html.j2") -> Any:
        return getattr(templates.get_template(template).module, finding.kind)(finding.values)

    templates.filters["said"] = said
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
