"""Models side by side (the paper's Figures 3 and 5): ability against shared ratio and against score.

The store has no benchmark scores yet, so ability is how well a model predicts held-out text: bits per
sentence, averaged over languages, when the models scored the same text; bits per token, with a warning,
when they did not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from eval.report.data import ModelStudy
from eval.report.scores import SCORE, SHARED_RATIO, Estimate, estimate
from eval.report.svg import Axis, Drawing
from eval.report.wording import number

_HEIGHT = 220.0
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
            letter=_letter(i),
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
    return Comparison(
        points=points,
        unit=unit,
        caveat=caveat,
        ratio_chart=_scatter(ratios, "Shared neuron ratio, Eq. 4", unit, None),
        score_chart=_scatter(scores, "Language-agnostic score from log perplexity, Eq. 6", unit, math.log(2)),
        ratio_words=_trend_words([(x, y) for _, x, y in ratios]),
        score_words=_trend_words([(x, y) for _, x, y in scores]),
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


def _letter(i: int) -> str:
    return chr(ord("A") + i) if i < 26 else f"{chr(ord('A') + i // 26 - 1)}{chr(ord('A') + i % 26)}"


def _scatter(
    points: list[tuple[str, float, float]], x_name: str, unit: str, reference: float | None
) -> Markup:
    """Better models higher: the vertical axis is turned, since fewer bits are better."""
    if not points:
        return Markup('<p class="none">No model has both values.</p>')
    xs, ys = [p[1] for p in points], [p[2] for p in points]
    x_axis = Axis(
        min([*xs, reference or min(xs)]) * 0.95, max([*xs, reference or max(xs)]) * 1.05 or 1.0, pad_percent=5
    )
    spread = (max(ys) - min(ys)) or max(ys) * 0.1
    y_axis = Axis(min(ys) - 0.15 * spread, max(ys) + 0.15 * spread, pad_percent=0)
    top, floor = 22.0, 22.0 + _HEIGHT
    drawing = Drawing(floor + 40, f"{x_name} across models against held-out {unit}")
    drawing.text(0, 12, f"↑ better: fewer {unit}", "tick")
    for tick in y_axis.ticks(4):
        y = top + _HEIGHT * y_axis.at(tick) / 100
        drawing.line(0, y, 100, y, "grid")
        drawing.text(0, y - 3, number(tick, tidy=True), "tick halo")
    drawing.line(0, floor, 100, floor, "axis")
    for tick in x_axis.ticks(4):
        drawing.text(x_axis.at(tick), floor + 15, number(tick, tidy=True), "tick", "middle")
    drawing.text(100, floor + 33, f"{x_name} →", "tick", "end")
    if reference is not None:
        drawing.line(x_axis.at(reference), top, x_axis.at(reference), floor, "reference")
        drawing.text(x_axis.at(reference), top + 10, "equal worth", "tick halo", "start", 5)
    for letter, x, bits in points:
        y = top + _HEIGHT * y_axis.at(bits) / 100
        drawing.mark(x_axis.at(x), y, "disc", "shared", f"{letter}: {number(x)}, {number(bits)} {unit}")
        rivals = [
            x_axis.at(other) for name, other, b in points if name != letter and abs(b - bits) < 0.08 * spread
        ]
        crowded = any(0 <= rival - x_axis.at(x) < 8 for rival in rivals)  # then the letter stands to the left
        side = ("end", -9.0) if crowded else ("start", 9.0)
        drawing.text(x_axis.at(x), y + 5, letter, "label halo", *side)
    return drawing.render()


def _trend_words(pairs: list[tuple[float, float]]) -> str:
    """A rank correlation needs at least five models to be worth a number."""
    if len(pairs) < 5:
        return f"{len(pairs)} models with both values: too few for a trend."
    ranks = [np.argsort(np.argsort(values)) for values in zip(*pairs, strict=True)]
    rho = float(np.corrcoef(ranks[0], -ranks[1])[0, 1])
    return f"Spearman rank correlation with ability over {len(pairs)} models: {number(rho, 2)}."
