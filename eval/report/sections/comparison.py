"""The part on models side by side (the paper's Figures 3 and 5): ability against shared ratio and against score.

Ability is how well a model predicts held-out text: bits per sentence, averaged over languages, when the models scored the same
text; bits per token, with a warning, when they did not. Where benchmarks were taken it is also the mean score, nothing
switched off, over the languages in which every model was asked alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from scipy.stats import spearmanr

from polyneuron.eval.report.charts.models import scatter
from polyneuron.eval.report.numbers.benchmarks import SAMPLE, Results, points, results_of, title_of
from polyneuron.eval.report.numbers.estimates import SCORE, SHARED_RATIO, ShownEstimate, estimate
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.units import Row
from polyneuron.eval.report.words.wording import DASH, number
from polyneuron.eval.tables.grid import Grid, grid
from polyneuron.eval.tasks.benchmarks import BENCHMARKS

ENOUGH_MODELS = 5
_ALIKE = ("data", "dataset", "revision", "n_shots", "max_gen_toks", "metric", "filter", "task_version")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownModel:
    """One model as a point of the figures."""

    letter: str
    """By which the figures call it."""
    name: str
    """Of the model."""
    ability: float | None
    """In the unit of the comparison; None where it was not measured."""
    ratio: ShownEstimate | None
    """Eq. 4."""
    scores: Mapping[str, ShownEstimate | None]
    """Eq. 6, from perplexity (ppl) and from log perplexity (nll)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """Two figures and a table of models by one kind of ability."""

    about: Mapping[str, Any]
    """What the template says of the ability."""
    models: Sequence[ShownModel]
    """All models that have the ability, in the order of their letters."""
    charts: Mapping[str, Markup]
    """Against the ratio and against the score."""
    trends: Mapping[str, tuple[int, float | None]]
    """How many models have both, and their rank correlation, None where all are alike in one of the two."""
    table: Grid
    """The numbers of the figures."""


def comparison(studies: Sequence[ShownStudy]) -> Figures | None:
    """Models by how well they predict held-out text; None when there are fewer than two."""
    if len(studies) < 2:
        return None
    texts = {_text_key(study) for study in studies}
    same = len(texts) == 1 and texts != {()}
    unit = "bits per sentence" if same else "bits per token"
    models = [_model(i, study, _bits(study, same)) for i, study in enumerate(studies)]
    return _figures(
        models,
        {"same_text": same, "unit": unit},
        f"held-out {unit}",
        f"better: fewer {unit}",
        grid_title="Models, their ability and scores",
        ability_head=unit,
    )


def benchmark_comparisons(studies: Sequence[ShownStudy]) -> list[Figures]:
    """By each benchmark for which two or more models have a comparable score, and a ratio or a score of Eq. 6."""
    results = {i: found for i, study in enumerate(studies) if (found := results_of(study)) is not None}
    names = {name for found in results.values() for name in found.benchmarks}
    ordered = [name for name in (*BENCHMARKS, *sorted(names - set(BENCHMARKS))) if name in names]
    compared = [_on_benchmark(name, studies, results) for name in ordered]
    return [figures for figures in compared if figures is not None]


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's; None where all values are alike on one side."""
    alike = any(len(set(values)) == 1 for values in zip(*pairs, strict=True))
    return None if alike else float(spearmanr(pairs).statistic)


def _on_benchmark(name: str, studies: Sequence[ShownStudy], results: Mapping[int, Results]) -> Figures | None:
    taken = {i: rows for i, found in results.items() if (rows := _base_rows(found, name))}
    if len(taken) < 2:
        return None
    first = next(iter(taken.values()))
    codes = [
        code
        for code in first
        if all(code in rows and _asked(rows[code]) == _asked(first[code]) for rows in taken.values())
    ]
    if not codes:
        return None
    models = [
        _model(i, studies[i], sum(points(rows[code]["value"]) for code in codes) / len(codes))
        for i, rows in taken.items()
    ]
    title = title_of(name)
    sampled = [code for code in codes if first[code]["data"] == SAMPLE]
    shown = f"{title} (sample, not the benchmark)" if len(sampled) == len(codes) else title
    about = {
        "title": shown,
        "languages": codes,
        "n_items": sum(first[code]["n"] for code in codes),
        "stand_ins": [code for code in codes if first[code]["stand_in"]],
        "sampled": bool(sampled),
    }
    figures = _figures(
        models,
        about,
        f"mean {title} score",
        "better: more points",
        grid_title=f"Models on {shown}",
        ability_head="mean points",
    )
    return figures if max(n for n, _ in figures.trends.values()) >= 2 else None


def _model(i: int, study: ShownStudy, ability: float | None) -> ShownModel:
    """Letters go from A to Z, then AA, AB and so on."""
    letter = chr(ord("A") + i % 26)
    return ShownModel(
        letter=letter if i < 26 else f"{chr(ord('A') + i // 26 - 1)}{letter}",
        name=study.model,
        ability=ability,
        ratio=estimate(study, SHARED_RATIO),
        scores={kind: estimate(study, metric) for kind, metric in SCORE.items()},
    )


def _figures(
    models: Sequence[ShownModel],
    about: Mapping[str, Any],
    ability: str,
    better: str,
    *,
    grid_title: str,
    ability_head: str,
) -> Figures:
    """Where the ability is in bits, fewer are better and stand above."""
    fewer, charts, trends = "unit" in about, {}, {}
    for kind, name, reference in (
        ("ratio", "Shared neuron ratio, Eq. 4", None),
        ("score", "Language-agnostic score from log perplexity, Eq. 6", math.log(2)),
    ):
        pairs = []
        for model in models:
            found = model.ratio if kind == "ratio" else model.scores["nll"]
            if found and found.value is not None and model.ability is not None:
                pairs.append((model.letter, found.value, model.ability))
        ranked = [(x, -y if fewer else y) for _, x, y in pairs]
        trends[kind] = len(pairs), rank_correlation(ranked) if len(pairs) >= ENOUGH_MODELS else None
        charts[kind] = scatter(pairs, name, ability, better, reference, fewer_is_better=fewer)
    rows = [
        [
            f"{model.letter} · {model.name}",
            number(model.ability, 4) if fewer else f"{model.ability:.1f}",
            *(found.words if found else DASH for found in (model.ratio, *model.scores.values())),
        ]
        for model in models
    ]
    heads = ["model", ability_head, "ratio, Eq. 4", "score, PPL", "score, log PPL"]
    return Figures(
        about=about, models=models, charts=charts, trends=trends, table=grid(grid_title, heads, rows)
    )


def _text_key(study: ShownStudy) -> tuple[tuple[str, str, int], ...]:
    return tuple(sorted({(r["language"], r["sha"], r["n_heldout"]) for r in study.corpora}))


def _bits(study: ShownStudy, per_sentence: bool) -> float | None:
    """Mean over languages of the base model's held-out bits."""
    base = study.variants.base
    if base is None or not base.nll:
        return None
    values = [
        nats.sum() / (len(nats) if per_sentence else tokens.sum()) / math.log(2)
        for _, nats, tokens in base.nll.values()
    ]
    return float(np.mean(values))


def _base_rows(results: Results, benchmark: str) -> dict[str, Row]:
    rows = {code: results.scored(benchmark, code) for code in results.languages}
    return {code: row for code, row in rows.items() if row is not None}


def _asked(row: Row) -> tuple[object, ...]:
    return (*(row[name] for name in _ALIKE), row["n"] + row["n_unscored"])
