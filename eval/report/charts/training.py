"""Losses while training: one panel per trained language, and per language of validation, a line per strategy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from polyneuron.eval.report.charts.frame import Plot
from polyneuron.eval.report.charts.svg import Axis
from polyneuron.eval.report.numbers.training import STRATEGIES, ShownTraining, several_seeds
from polyneuron.eval.report.words.wording import count, language_name, number, plural

MOST_POINTS = 120
_Curve = tuple[ShownTraining, NDArray[np.float64], NDArray[np.float64], int | None]
"""A training, steps, nats per token after them, and the step whose values were kept."""


def loss_curves(trainings: Sequence[ShownTraining], languages: Sequence[str]) -> list[dict[str, Any]]:
    """The panels of each language, or languages together, that something was trained for. ``loss``: of training; ``validation``:
    by every language that has one; ``binned``: steps averaged into a point of the training loss, 1 where all fit."""
    groups: dict[tuple[str, ...], list[ShownTraining]] = {}
    for training in trainings:
        groups.setdefault(training.languages, []).append(training)
    return [
        {
            "languages": own,
            "loss": _panel(group, "Training loss, nats per token", [(t, *thinned(t), None) for t in group]),
            "validation": {code: _validation(group, code) for code in validated_in(group, languages)},
            "binned": max(_bin(training.n_steps) for training in group),
        }
        for own, group in groups.items()
    ]


def validated_in(trainings: Sequence[ShownTraining], languages: Sequence[str]) -> list[str]:
    """The languages that some training was validated in, those of the study first."""
    validated = {code for training in trainings for code in training.validations}
    return [code for code in (*languages, *sorted(validated - set(languages))) if code in validated]


def curve_legend(trainings: Sequence[ShownTraining]) -> list[tuple[str, str, str]]:
    """Strategies that were trained, and the ring that marks a kept step, as items of a legend."""
    names = dict.fromkeys(training.strategy for training in trainings)
    items = [(line_style(name), "long", name) for name in names]
    kept = any(training.kept is not None for training in trainings)
    return items + ([("kept", "disc", "the step whose values were kept")] if kept else [])


def line_style(strategy: str) -> str:
    """The class of a strategy's lines; a name from outside never becomes one."""
    return f"train-{strategy if strategy in STRATEGIES else 'other'}"


def thinned(training: ShownTraining) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and losses: means over neighbouring steps, by tokens, so that a long training stays a line."""
    starts = np.arange(0, training.n_steps, _bin(training.n_steps))
    weights = np.maximum(training.tokens, 1).astype(np.float64)
    losses = np.add.reduceat(training.losses * weights, starts) / np.add.reduceat(weights, starts)
    counts = np.diff([*starts, training.n_steps])
    return np.add.reduceat(training.steps.astype(np.float64), starts) / counts, losses


def _bin(n_steps: int) -> int:
    return max(1, -(-n_steps // MOST_POINTS))


def _validation(group: list[ShownTraining], language: str) -> Markup:
    found = [(t, v) for t in group if (v := t.validations.get(language)) is not None]
    curves = [(t, v.steps.astype(np.float64), v.nats, v.kept) for t, v in found]
    before = next((nats for _, v in found if (nats := v.at(0)) is not None), None)
    return _panel(group, f"Validation in {language_name(language)}, nats per token", curves, before)


def _panel(
    group: list[ShownTraining], label: str, curves: list[_Curve], before: float | None = None
) -> Markup:
    """Steps to the right, the same in all panels of a group, and nats per token upwards. The dashed line is the loss ``before``
    training; a ring marks the step whose values were kept, or a lone point."""
    last_step = max(int(training.steps[-1]) + 1 for training in group)
    values = np.concatenate([nats for _, _, nats, _ in curves])
    low, high = float(values.min()), float(values.max())
    room = 0.08 * (high - low) or 0.05 * abs(high) or 0.05
    x = Axis(-0.09 * last_step, last_step)  # the names of the ticks stand left of step 0
    plot = Plot(f"{label}, by step", x, Axis(low - room, high + room, pad_percent=0), top=26, height=150)
    plot.text(0, 12, "nats per token", "tick")
    whole = [tick for tick in x.ticks() if tick >= 0 and tick == int(tick)]
    plot.grid((t, plural(int(t), "step") if t and t == whole[-1] else count(t)) for t in whole)
    if before is not None:
        plot.line(x.at(0), plot.y_at(before), 100, plot.y_at(before), "reference")
    for training, steps, nats, _ in curves:
        points = zip(steps.tolist(), nats.tolist(), strict=True)
        plot.curve(points if len(steps) > 1 else (), line_style(training.strategy))
    for training, steps, nats, kept in curves:
        for step, value in zip(steps.tolist(), nats.tolist(), strict=True):
            if step != kept and len(steps) > 1:
                continue
            tip = f"kept after {plural(int(step), 'step')}, " if step == kept else ""
            name = training.label + (f", seed {training.seed}" if several_seeds(group) else "")
            css = f"{line_style(training.strategy)} kept"
            words = f"{name}: {tip}{number(value, 4)} nats per token"
            plot.mark(x.at(step), plot.y_at(value), "ring", css, words)
    plot.name_lines()
    return plot.svg(plot.floor + 22)
