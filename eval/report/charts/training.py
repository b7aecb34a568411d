"""Losses while training: one panel per trained language, and per language of validation, a line per strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from polyneuron.eval.report.charts.svg import Axis, Drawing
from polyneuron.eval.report.numbers.training import STRATEGIES, Training, several_seeds
from polyneuron.eval.report.words.wording import count, language_name, listing, number, plural

_HEIGHT = 150.0
_TOP = 26.0
MOST_POINTS = 120


@dataclass(frozen=True)
class Panel:
    title: str
    chart: Markup


@dataclass(frozen=True)
class LossCurves:
    """Panels of the variants trained for the same languages. ``own``, ``other``: validation on the languages trained
    for, and on the rest. ``binned``: steps averaged into a point, where there are more than fit."""

    trained_for: str
    loss: Markup
    own: list[Panel]
    other: list[Panel]
    binned: int


def loss_curves(trainings: Sequence[Training], languages: Sequence[str]) -> list[LossCurves]:
    """One set of panels for each language, or languages together, that something was trained for."""
    groups: dict[tuple[str, ...], list[Training]] = {}
    for one in trainings:
        groups.setdefault(one.languages, []).append(one)
    found = []
    for own, group in groups.items():
        validated = {code for one in group for code in one.validations}
        ordered = [code for code in (*languages, *sorted(validated - set(languages))) if code in validated]
        panels = {code: _validation_chart(group, code) for code in ordered}
        found.append(
            LossCurves(
                listing([language_name(code) for code in own]),
                _loss_chart(group),
                [Panel(language_name(code), chart) for code, chart in panels.items() if code in own],
                [Panel(language_name(code), chart) for code, chart in panels.items() if code not in own],
                max(_bin(one.n_steps) for one in group),
            )
        )
    return found


def curve_legend(trainings: Sequence[Training]) -> list[tuple[str, str, str]]:
    """Strategies that were trained, and the ring that marks a kept step, as items of a legend."""
    names = dict.fromkeys(one.strategy for one in trainings)
    items = [(line_style(name), "long", name) for name in names]
    kept = any(one.kept is not None for one in trainings)
    return items + ([("kept", "disc", "the step whose values were kept")] if kept else [])


def line_style(strategy: str) -> str:
    """The class of a strategy's lines; a name from outside never becomes one."""
    return f"train-{strategy if strategy in STRATEGIES else 'other'}"


def thinned(one: Training) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and losses: means over neighbouring steps, by tokens, so that a long training stays a line."""
    size = _bin(one.n_steps)
    starts = np.arange(0, one.n_steps, size)
    weights = np.maximum(one.tokens, 1).astype(np.float64)
    losses = np.add.reduceat(one.losses * weights, starts) / np.add.reduceat(weights, starts)
    counts = np.diff([*starts, one.n_steps])
    return np.add.reduceat(one.steps.astype(np.float64), starts) / counts, losses


def _bin(n_steps: int) -> int:
    return max(1, -(-n_steps // MOST_POINTS))


def _loss_chart(group: list[Training]) -> Markup:
    lines = [(one, *thinned(one)) for one in group]
    values = np.concatenate([losses for *_, losses in lines])
    frame = _Frame(_last_step(group), values, "Training loss, nats per token")
    for one, steps, losses in lines:
        frame.draw(steps, losses, one)
    return frame.render()


def _validation_chart(group: list[Training], language: str) -> Markup:
    """The dashed line is the loss before training; a ring marks the step whose values were kept."""
    lines = [(one, found) for one in group if (found := one.validations.get(language)) is not None]
    values = np.concatenate([found.nats for _, found in lines])
    frame = _Frame(_last_step(group), values, f"Validation in {language_name(language)}, nats per token")
    before = next((nats for _, found in lines if (nats := found.at(0)) is not None), None)
    if before is not None:
        y = frame.y(before)
        frame.drawing.line(0, y, 100, y, "reference")
    for one, found in lines:
        frame.draw(found.steps.astype(np.float64), found.nats, one)
    seeds = several_seeds(group)
    for one, found in lines:
        kept = found.at(found.kept)
        if found.kept is not None and kept is not None:
            name = f"{one.strategy}, seed {one.seed}" if seeds else one.strategy
            tip = f"{name}: kept after {plural(found.kept, 'step')}, {number(kept, 4)} nats per token"
            frame.drawing.mark(
                frame.x.at(found.kept), frame.y(kept), "ring", f"{line_style(one.strategy)} kept", tip
            )
    return frame.render()


def _last_step(group: list[Training]) -> int:
    return max(int(one.steps[-1]) + 1 for one in group)


class _Frame:
    """Axes of one panel: steps to the right, nats per token upwards."""

    def __init__(self, last_step: int, values: NDArray[np.float64], label: str) -> None:
        gutter = 0.09 * last_step  # the names of the ticks stand left of step 0
        self.x = Axis(-gutter, float(last_step), pad_percent=1.5)
        low, high = float(values.min()), float(values.max())
        room = 0.08 * (high - low) or 0.05 * abs(high) or 0.05
        self._y = Axis(low - room, high + room, pad_percent=0)
        self.drawing = Drawing(_TOP + _HEIGHT + 22, f"{label}, by step")
        floor = _TOP + _HEIGHT
        self.drawing.text(0, 11, "nats per token", "tick")
        for tick in self._y.ticks(4):
            y = self.y(tick)
            self.drawing.line(0, y, 100, y, "grid")
        self.drawing.line(0, floor, 100, floor, "axis")
        whole = [tick for tick in self.x.ticks(5) if tick >= 0 and tick == int(tick)]
        for tick in whole:
            at = self.x.at(tick)
            self.drawing.line(at, floor, at, floor + 4, "axis")
            anchor = "start" if at < 6 else "end" if at > 90 else "middle"
            words = f"{count(tick)} steps" if tick == whole[-1] and tick else count(tick)
            self.drawing.text(at, floor + 17, words, "tick", anchor)

    def y(self, nats: float) -> float:
        return _TOP + _HEIGHT * (1 - self._y.at(nats) / 100)

    def draw(self, steps: NDArray[np.float64], nats: NDArray[np.float64], one: Training) -> None:
        """A line, or a disc where there is one point."""
        css = line_style(one.strategy)
        if len(steps) == 1:
            tip = f"{one.strategy}: {number(float(nats[0]), 4)} nats per token"
            self.drawing.mark(self.x.at(float(steps[0])), self.y(float(nats[0])), "ring", f"{css} kept", tip)
            return
        points = [(self.x.at(float(s)), self._y.at(float(v)) / 100) for s, v in zip(steps, nats, strict=True)]
        self.drawing.path(points, _TOP, _HEIGHT, css)

    def render(self) -> Markup:
        """The names of the ticks come last, so that no line runs through them."""
        for tick in self._y.ticks(4):
            self.drawing.text(0, self.y(tick) - 3, number(tick, 4, tidy=True), "tick halo")
        return self.drawing.render()
