"""One model's part of the page: every chart drawn and every table filled, ready for the template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from polyneuron.eval.report.charts.effects import effect_chart, heat_grid
from polyneuron.eval.report.charts.scores import importance_chart, sensitivity_chart
from polyneuron.eval.report.charts.sets import WHISKERS_UP_TO, fraction_chart, layer_chart, sharing_chart
from polyneuron.eval.report.charts.thresholds import threshold_chart
from polyneuron.eval.report.numbers import estimates as scores
from polyneuron.eval.report.numbers.benchmarks import results_of
from polyneuron.eval.report.numbers.effects import Effects, effects_of
from polyneuron.eval.report.numbers.estimates import IMPORTANCE, SCORE, SHARED_RATIO, Neighbour
from polyneuron.eval.report.numbers.study import ModelStudy, Row
from polyneuron.eval.report.sections.benchmark_tables import BenchmarkSection, benchmark_section
from polyneuron.eval.report.sections.methods import MethodsSection, methods_section
from polyneuron.eval.report.sections.training import TrainingSection, training_section
from polyneuron.eval.report.sections.training_benchmarks import trained_part, untrained_part
from polyneuron.eval.report.words.benchmark_findings import benchmark_findings
from polyneuron.eval.report.words.findings import Finding, findings_of
from polyneuron.eval.report.words.method_findings import method_findings
from polyneuron.eval.report.words.omissions import Omission, omissions_of
from polyneuron.eval.report.words.training_findings import training_findings
from polyneuron.eval.report.words.wording import GROUP_NAMES, count, language_name, number, percent
from polyneuron.eval.tables.grid import Grid

SECTIONS = (
    ("sets", "Shared and exclusive"),
    ("layers", "Layers"),
    ("perplexity", "Perplexity"),
    ("overlap", "Overlap"),
    ("thresholds", "Thresholds"),
    ("scores", "Scores"),
    ("benchmarks", "Benchmarks"),
    ("training", "Training"),
    ("methods", "Other methods"),
    ("omissions", "Dropped or null"),
)
_SHADES = 6


@dataclass(frozen=True)
class ModelPage:
    id: str
    study: ModelStudy
    sections: list[tuple[str, str]]
    effects: Effects | None
    findings: list[Finding]
    facts: list[tuple[str, str]]
    rule: str
    total: str
    fraction_chart: Markup
    group_charts: list[tuple[str, str, Markup]]
    set_rows: list[Row]
    layer_charts: list[tuple[str, str, Markup]]
    layer_ranges: bool
    layer_rows: list[list[tuple[int, float]]]
    languages_measured: list[str]
    effect_chart: Markup | None
    heat: Grid | None
    overlap: list[Row]
    sharing_chart: Markup
    explorer: Row | None
    explorer_rows: list[Row]
    threshold_chart: Markup | None
    n_bootstrap: str
    scores: list[tuple[str, str]]
    importance_chart: Markup | None
    importance_rows: list[tuple[str, str, str]]
    neighbours: list[Neighbour]
    sensitivity_chart: Markup | None
    benchmarks: BenchmarkSection | None
    training: TrainingSection | None
    methods: MethodsSection | None
    omissions: list[Omission]


def model_page(study: ModelStudy, index: int) -> ModelPage:
    """``index`` keeps the ids of several models on one page apart."""
    page_id = f"m{index}"
    effects = effects_of(study)
    groups = study.anatomy.groups
    estimates = [
        (
            lang,
            scores.estimate(study, IMPORTANCE["ppl"], lang),
            scores.estimate(study, IMPORTANCE["nll"], lang),
        )
        for lang in study.languages
    ]
    has_importance = any(a or b for _, a, b in estimates)
    near = scores.neighbours(study)
    explorer, explorer_rows = _explorer(study)
    results = results_of(study)
    trained = None
    if study.trainings:
        trained = trained_part(results) if results else None
        results = untrained_part(results) if results else None
    absent = {
        "benchmarks" if not results else "",
        "training" if not study.trainings else "",
        "methods" if study.others is None else "",
    }
    findings = findings_of(study, effects) + (benchmark_findings(results) if results else [])
    findings += training_findings(study, effects, trained) if study.trainings else []
    return ModelPage(
        id=page_id,
        study=study,
        sections=[section for section in SECTIONS if section[0] not in absent],
        effects=effects,
        findings=findings + method_findings(study.others),
        facts=_facts(study),
        rule=rule_words(study),
        total=count(study.anatomy.n_neurons),
        fraction_chart=fraction_chart(study),
        group_charts=[(g, GROUP_NAMES.get(g, g), fraction_chart(study, g)) for g in groups],
        set_rows=_set_rows(study),
        layer_charts=[(g, GROUP_NAMES.get(g, g), layer_chart(study, g)) for g in groups],
        layer_ranges=study.anatomy.n_layers <= WHISKERS_UP_TO,
        layer_rows=_layer_rows(study),
        languages_measured=[lang for lang in study.languages if effects and lang in effects.base],
        effect_chart=effect_chart(study, effects) if effects else None,
        heat=heat_grid(study, effects) if effects else None,
        overlap=_overlap(study),
        sharing_chart=sharing_chart(study),
        explorer=explorer,
        explorer_rows=explorer_rows,
        threshold_chart=threshold_chart(study.curves, f"{page_id}-marker") if study.curves else None,
        n_bootstrap=count(scores.n_bootstrap(study)),
        scores=_score_facts(study),
        importance_chart=importance_chart(estimates) if has_importance else None,
        importance_rows=[
            (language_name(lang), a.words if a else "not computed", b.words if b else "not computed")
            for lang, a, b in estimates
        ],
        neighbours=near,
        sensitivity_chart=sensitivity_chart(near) if near else None,
        benchmarks=benchmark_section(results) if results else None,
        training=training_section(study, effects, trained),
        methods=methods_section(study.others),
        omissions=omissions_of(study, effects),
    )


def rule_words(study: ModelStudy) -> str:
    """The stored rule: its own description when it carries one, and every parameter."""
    rule = {k: v for k, v in study.rule.items() if v is not None}
    name = str(rule.pop("name", rule.pop("rule", study.selection)))
    described = rule.pop("description", rule.pop("describe", None))
    parts = ", ".join(f"{k.replace('_', ' ')} {_parameter(v)}" for k, v in rule.items())
    words = f"{described}" if described else name
    return f"{words} ({parts})" if parts else words


def _parameter(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _facts(study: ModelStudy) -> list[tuple[str, str]]:
    anatomy = study.anatomy
    mean = (
        np.mean([study.sets.total("exclusive", lang) for lang in study.languages])
        if study.languages
        else float("nan")
    )
    return [
        ("layers", count(anatomy.n_layers)),
        ("neurons measured", count(anatomy.n_neurons)),
        ("shared", count(study.sets.total("shared"))),
        ("exclusive, mean", count(float(mean))),
    ]


def _set_rows(study: ModelStudy) -> list[Row]:
    names = [("shared", "", "shared")]
    for kind, words in (
        ("exclusive", "exclusive"),
        ("strict_exclusive", "strictly exclusive"),
        ("related", "related"),
    ):
        names += [(kind, lang, f"{words}, {language_name(lang)}") for lang in study.languages]
    rows = []
    for kind, lang, name in names:
        table = study.sets.counts.get((kind, lang))
        per_group = [0] * len(study.anatomy.groups) if table is None else table.sum(axis=1).tolist()
        n = study.anatomy.n_neurons
        rows.append(
            {
                "name": name,
                "counts": per_group,
                "total": sum(per_group),
                "fraction": sum(per_group) / n if n else None,
            }
        )
    return rows


def _layer_rows(study: ModelStudy) -> list[list[tuple[int, float]]]:
    shape = (len(study.anatomy.groups), study.anatomy.n_layers)
    zero = np.zeros(shape, np.int64)
    shared = study.sets.counts.get(("shared", ""), zero)
    exclusive = [study.sets.counts.get(("exclusive", lang), zero) for lang in study.languages]
    mean = np.mean(exclusive, axis=0) if exclusive else zero
    return [[(int(shared[g, i]), float(mean[g, i])) for g in range(shape[0])] for i in range(shape[1])]


def _overlap(study: ModelStudy) -> list[Row]:
    rows = []
    for name, values in zip(study.languages, study.sets.jaccard, strict=True):
        cells = [("–", 0) if np.isnan(v) else (f"{v:.2f}", round(_SHADES * float(v))) for v in values]
        rows.append({"name": language_name(name), "cells": cells})
    return rows


def _explorer(study: ModelStudy) -> tuple[Row | None, list[Row]]:
    """What the slider reads, and the table it starts from, which is right without script too."""
    curves = study.curves
    if curves is None:
        return None, []
    bars = [study.thresholds.get(g) for g in curves.groups]
    thresholds = bars if all(b is not None for b in bars) and bars else None
    at = curves.study_index
    rows: list[Row] = []
    for g, group in enumerate(curves.groups):
        related, shared = float(curves.related[g, :, at].mean()), int(curves.shared[g, at])
        strict = float(curves.strict[g, :, at].mean())
        threshold = thresholds[g] if thresholds else None
        rows.append(
            {"key": g, "name": group, "shared": shared, "related": related, "exclusive": related - shared,
             "strict": strict, "threshold": threshold}
        )  # fmt: skip
    total: Row = {k: sum(r[k] for r in rows) for k in ("shared", "related", "exclusive", "strict")}
    rows.append({"key": "all", "name": "all groups", "threshold": None, **total})
    return {**curves.payload(), "thresholds": thresholds}, rows


def _score_facts(study: ModelStudy) -> list[tuple[str, str]]:
    found = []
    for name, metric in (
        ("Shared neuron ratio, Eq. 4", SHARED_RATIO),
        ("Language-agnostic score, Eq. 6, from perplexity", SCORE["ppl"]),
        ("Language-agnostic score, Eq. 6, from log perplexity", SCORE["nll"]),
    ):
        value = scores.estimate(study, metric)
        if value is not None:
            found.append((name, "no value" if value.value is None else value.words))
    band = scores.sensitivity_band(study)
    if band is not None:
        found.append(("Ratio under neighbouring rules", f"{number(band[0])} to {number(band[1])}"))
    return found


__all__ = ["SECTIONS", "ModelPage", "model_page", "percent", "rule_words"]
