"""Models side by side (the paper's Figures 3 and 5): ability against shared ratio and against score.

Ability here is how well a model predicts held-out text: bits per sentence, averaged over languages, when the
models scored the same text; bits per token, with a warning, when they did not. Every study has that;
`compare_benchmarks` takes benchmark scores instead, where there are any.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from polyneuron.eval.report.charts.models import letter_of, scatter, trend_words
from polyneuron.eval.report.numbers.estimates import SCORE, SHARED_RATIO, Estimate, estimate
from polyneuron.eval.report.numbers.study import ModelStudy

_SAME_TEXT = (
    "All models scored the same held-out sentences, so bits per sentence can be compared across tokenizers, "
    "up to a first token that models without a start token do not predict and to the cut at the length limit."
)
_OTHER_TEXT = (
    "The models did not score the same held-out text, so bits per token also reflect their tokenizers and "
    "texts: read the vertical axis as a rough order only."
)


@dataclass(frozen=True)
class Point:
    letter: str
    model: str
    bits: float | None
    ratio: Estimate | None
    score_ppl: Estimate | None
    score_nll: Estimate | None


@dataclass(frozen=True)
class Comparison:
    points: list[Point]
    unit: str
    caveat: str
    ratio_chart: Markup
    score_chart: Markup
    ratio_words: str
    score_words: str


def compare(studies: tuple[ModelStudy, ...]) -> Comparison | None:
    """None when there are fewer than two models."""
    if len(studies) < 2:
        return None
    same = len({_text_key(s) for s in studies}) == 1 and _text_key(studies[0]) != ()
    unit = "bits per sentence" if same else "bits per token"
    caveat = _SAME_TEXT if same else _OTHER_TEXT
    points = [
        Point(
            letter=letter_of(i),
            model=study.model,
            bits=_bits(study, per_sentence=same),
            ratio=estimate(study, SHARED_RATIO),
            score_ppl=estimate(study, SCORE["ppl"]),
            score_nll=estimate(study, SCORE["nll"]),
        )
        for i, study in enumerate(studies)
    ]
    ratios = [
        (p.letter, p.ratio.value, p.bits) for p in points if p.ratio and p.ratio.value is not None and p.bits
    ]
    scores = [
        (p.letter, p.score_nll.value, p.bits)
        for p in points
        if p.score_nll and p.score_nll.value is not None and p.bits
    ]
    axis, better = f"held-out {unit}", f"better: fewer {unit}"
    score_name = "Language-agnostic score from log perplexity, Eq. 6"
    return Comparison(
        points=points,
        unit=unit,
        caveat=caveat,
        ratio_chart=scatter(ratios, "Shared neuron ratio, Eq. 4", axis, better, None, fewer_is_better=True),
        score_chart=scatter(scores, score_name, axis, better, math.log(2), fewer_is_better=True),
        ratio_words=trend_words([(x, -y) for _, x, y in ratios]),
        score_words=trend_words([(x, -y) for _, x, y in scores]),
    )


def _text_key(study: ModelStudy) -> tuple[tuple[str, str, int], ...]:
    rows = {
        (r["language"], r["sha"], r["n_heldout"]) for r in study.corpora if r["language"] in study.languages
    }
    return tuple(sorted(rows))


def _bits(study: ModelStudy, per_sentence: bool) -> float | None:
    """Mean over languages of the base model's held-out bits."""
    bases = study.of_kind("base")
    if not bases or not bases[0].nll:
        return None
    values = [
        nats.sum() / (len(nats) if per_sentence else tokens.sum()) / math.log(2)
        for _, nats, tokens in bases[0].nll.values()
    ]
    return float(np.mean(values))
