"""The part on models side by side (the paper's Figures 3 and 5): ability against shared ratio and against score.

Ability is how well a model predicts held-out text: bits per sentence, averaged over languages, when the models scored the same
text; bits per token, with a warning, when they did not. Where benchmarks were taken it is also the mean score, nothing
switched off, over the languages in which every model was asked alike.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from polyneuron.eval.report.charts.models import scatter
from polyneuron.eval.report.numbers.benchmarks import SAMPLE, Results, points, results_of, title_of
from polyneuron.eval.report.numbers.estimates import SCORE, SHARED_RATIO, estimate
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.units import Row
from polyneuron.eval.report.words.wording import DASH, number
from polyneuron.eval.tables.grid import grid
from polyneuron.eval.tasks.benchmarks import BENCHMARKS

ENOUGH_MODELS = 5
_ALIKE = ("data", "dataset", "revision", "n_shots", "max_gen_toks", "metric", "filter", "task_version")


Figures: TypeAlias = dict[str, Any]
"""Two figures and a table of models by one kind of ability. ``about``: what the template says of the ability; ``charts``
and ``trends``: of ratio and score, a trend being how many models have both values, and their rank correlation where it
means something; ``table``: the numbers."""


def comparison(studies: Sequence[ShownStudy]) -> Figures | None:
    """Models by how well they predict held-out text; None when there are fewer than two."""
    if len(studies) < 2:
        return None
    texts = {_text_key(study) for study in studies}
    same = len(texts) == 1 and texts != {()}
    unit = "bits per sentence" if same else "bits per token"
    abilities = {i: _bits(study, same) for i, study in enumerate(studies)}
    return _figures(studies, abilities, {"same_text": same, "unit": unit}, "Models, their ability and scores")


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
    if alike:
        return None
    from scipy.stats import spearmanr  # which takes long to load

    return float(spearmanr(pairs).statistic)


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
    abilities: dict[int, float | None] = {
        i: sum(points(rows[code]["value"]) for code in codes) / len(codes) for i, rows in taken.items()
    }
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
    figures = _figures(studies, abilities, about, f"Models on {shown}", title)
    return figures if max(n for n, _ in figures["trends"].values()) >= 2 else None


def _figures(
    studies: Sequence[ShownStudy],
    abilities: Mapping[int, float | None],
    about: Mapping[str, Any],
    grid_title: str,
    benchmark: str = "",
) -> Figures:
    """Abilities are points on a benchmark, or bits, of which fewer are better."""
    axis, better, head = f"mean {benchmark} score", "better: more points", "mean points"
    if not benchmark:
        axis, better, head = f"held-out {about['unit']}", f"better: fewer {about['unit']}", about["unit"]
    pairs: dict[str, list[tuple[str, float, float]]] = {"ratio": [], "score": []}
    rows = []
    for i, ability in abilities.items():
        estimates = [estimate(studies[i], metric) for metric in (SHARED_RATIO, *SCORE.values())]
        written = f"{ability:.1f}" if benchmark else number(ability, 4)
        name = f"{_letter(i)} · {studies[i].model}"
        rows.append([name, written, *(found.words if found else DASH for found in estimates)])
        for kind, found in (("ratio", estimates[0]), ("score", estimates[-1])):
            if found and found.value is not None and ability is not None:
                pairs[kind].append((_letter(i), found.value, ability))
    named: dict[str, tuple[str, float | None]] = {"ratio": ("Shared neuron ratio, Eq. 4", None)}
    named["score"] = "Language-agnostic score (Eq. 6), log PPL", math.log(2)
    drawn = {
        kind: scatter(pairs[kind], name, axis, better, equal_worth, fewer_is_better=not benchmark)
        for kind, (name, equal_worth) in named.items()
    }
    trends = {kind: (len(found), _trend(found, not benchmark)) for kind, found in pairs.items()}
    heads = ["model", head, "ratio, Eq. 4", "score, PPL", "score, log PPL"]
    return {"about": about, "charts": drawn, "trends": trends, "table": grid(grid_title, heads, rows)}


def _trend(found: Sequence[tuple[str, float, float]], fewer_is_better: bool) -> float | None:
    if len(found) < ENOUGH_MODELS:
        return None
    return rank_correlation([(x, -y if fewer_is_better else y) for _, x, y in found])


def _letter(i: int) -> str:
    """A to Z, then AA, AB and so on."""
    first = chr(ord("A") + i // 26 - 1) if i >= 26 else ""
    return first + chr(ord("A") + i % 26)


def _text_key(study: ShownStudy) -> tuple[tuple[str, str, int], ...]:
    return tuple(sorted({(r["language"], r["sha"], r["n_heldout"]) for r in study.rows["corpora"]}))


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
