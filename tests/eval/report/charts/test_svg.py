"""Scales and escaping of the drawing primitives."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from polyneuron.eval.report.charts.svg import Axis, Drawing


def test_log_axis_puts_the_geometric_mean_in_the_middle() -> None:
    axis = Axis(1, 100, log=True, pad_percent=0)
    assert [axis.at(v) for v in (1, 10, 100)] == pytest.approx([0, 50, 100])


def test_axis_clamps_and_survives_a_single_value() -> None:
    assert Axis(0, 10, pad_percent=0).at(20) == 100
    assert Axis(3, 3).at(3) == 50


@pytest.mark.parametrize(
    "low, high, log",
    [(0, 0.0031, False), (0.9, 1.4, True), (0.97, 1e6, True), (0.5, 30, True), (5, 5, False)],
)
def test_ticks_are_inside_and_few(low: float, high: float, log: bool) -> None:
    ticks = Axis(low, high, log=log).ticks(5)
    assert 1 <= len(ticks) <= 6
    assert all(low * (1 - 1e-6) <= t <= high * (1 + 1e-6) for t in ticks)


def test_text_from_outside_is_escaped() -> None:
    drawing = Drawing(10, 'a "label" <script>')
    drawing.text(0, 5, "<script>alert(1)</script>")
    drawing.bar(0, 10, 0, 5, "shared", "<b>tip</b>")
    drawing.mark(5, 5, "disc", "shared", "a & b")
    markup = str(drawing.render())
    assert "<script>" not in markup
    root = ElementTree.fromstring(markup)
    assert root.get("aria-label") == 'a "label" <script>'
    assert root.findtext("text") == "<script>alert(1)</script>"
