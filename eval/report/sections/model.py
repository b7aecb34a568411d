"""One model's article on the page: what its numbers say, and the parts that show them."""

from __future__ import annotations

from dataclasses import dataclass

from polyneuron.eval.report.numbers.benchmarks import results_of
from polyneuron.eval.report.numbers.effects import effects_of
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.sections.benchmarks import benchmarks_part
from polyneuron.eval.report.sections.methods import methods_part
from polyneuron.eval.report.sections.part import Part
from polyneuron.eval.report.sections.perplexity import perplexity_part
from polyneuron.eval.report.sections.scores import scores_part
from polyneuron.eval.report.sections.sets import layers_part, overlap_part, sets_part
from polyneuron.eval.report.sections.thresholds import thresholds_part
from polyneuron.eval.report.sections.training import training_part
from polyneuron.eval.report.words.benchmark_findings import benchmark_findings
from polyneuron.eval.report.words.findings import Finding, findings_of
from polyneuron.eval.report.words.method_findings import method_findings
from polyneuron.eval.report.words.omissions import omissions_of
from polyneuron.eval.report.words.training_findings import training_findings


@dataclass(frozen=True, slots=True)
class Article:
    """What the page says and shows of one model. ``id`` keeps the places of several models on one page apart; ``parts``:
    figures and tables, from top to bottom."""

    id: str
    study: ShownStudy
    findings: list[Finding]
    parts: list[Part]


def article(study: ShownStudy, id: str) -> Article:
    """Every chart drawn and every table filled, ready for the template."""
    effects, results = effects_of(study.variants), results_of(study)
    trained = results.of_training(True) if results and study.trainings else None
    untrained = results.of_training(False) if results and study.trainings else results
    findings = findings_of(study, effects)
    parts = [
        sets_part(study),
        layers_part(study),
        perplexity_part(study, effects),
        overlap_part(study),
        thresholds_part(study, id),
        scores_part(study),
    ]
    if results and untrained:
        findings += benchmark_findings(untrained)
        parts.append(benchmarks_part(untrained, len(untrained.variants) < len(results.variants)))
    if study.trainings:
        findings += training_findings(study, effects, trained)
        parts.append(training_part(study, effects, trained))
    if study.others is not None:
        findings += method_findings(study.others)
        parts.append(methods_part(study.others))
    parts.append(Part("omissions", {"omissions": omissions_of(study, effects)}))
    return Article(id, study, findings, parts)
