"""Scales, places and escaping of the frames that charts are drawn in."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from polyneuron.eval.report.charts.frame import Bands, BarRow, Plot, bar_rows, name_layers
from polyneuron.eval.report.charts.svg import Axis, Drawing, log_axis


def elements(chart: Markup, tag: str, css: str) -> list[ElementTree.Element]:
    """The elements of a kind that carry a class."""
    found = ElementTree.fromstring(str(chart)).iter(tag)
    return [element for element in found if css in (element.get("class") or "").split()]


def test_log_axis_puts_the_geometric_mean_in_the_middle() -> None:
    axis = Axis(1, 100, log=True, pad_percent=0)
    assert [axis.at(v) for v in (1, 10, 100)] == pytest.approx([0, 50, 100])


def test_axis_clamps_and_survives_a_single_value() -> None:
    assert Axis(0, 10, pad_percent=0).at(20) == 100
    assert Axis(3, 3).at(3) == 50


def test_an_axis_may_begin_with_its_larger_end() -> None:
    axis = Axis(10, 0, pad_percent=0)
    assert [axis.at(v) for v in (10, 8, 0, -5)] == pytest.approx([0, 20, 100, 100])
    assert axis.ticks(3) == [0, 5, 10]


def test_values_without_a_place_do_not_stretch_a_log_axis() -> None:
    assert log_axis([-1, 0, 0.5, 7, math.inf, math.nan], 0.9, 1.2) == Axis(0.5, 7, log=True)


@pytest.mark.parametrize(
    "low, high, log",
    [(0, 0.0031, False), (0.9, 1.4, True), (0.97, 1e6, True), (0.5, 30, True), (5, 5, False)],
)
def test_ticks_are_inside_and_few(low: float, high: float, log: bool) -> None:
    ticks = Axis(low, high, log=log).ticks(5)
    assert 1 <= len(ticks) <= 6
    assert all(low * (1 - 1e-6) <= t <= high * (1 + 1e-6) for t in ticks)


def test_text_from_outside_is_escaped() -> None:
    drawing = Drawing('a "label" <script>')
    drawing.text(0, 5, "<script>alert(1)</script>")
    drawing.bar(0, 10, 0, 5, "shared", tip="<b>tip</b>")
    drawing.mark(5, 5, "disc", "shared", "a & b")
    markup = str(drawing.svg(10))
    assert "<script>" not in markup
    root = ElementTree.fromstring(markup)
    assert (root.get("role"), root.get("height"), root.get("aria-label")) == (
        "img",
        "10",
        'a "label" <script>',
    )
    assert root.findtext("text") == "<script>alert(1)</script>"
    assert [title.text for title in root.iter("title")] == ["<b>tip</b>", "a & b"]


def bands() -> Bands:
    return Bands("chart", Axis(0, 100, pad_percent=0), "{:g}".format)


def test_bands_stand_below_each_other_over_one_grid() -> None:
    chart = bands()
    assert chart.band("first", 2) == [33, 55]
    assert chart.band("second", 1, "remark") == [107]
    drawn = chart.render(reference=50)
    places = [(line.get("x1"), line.get("y1"), line.get("y2")) for line in elements(drawn, "line", "grid")]
    for x in ("25.00%", "52.50%", "80.00%"):  # past the names of the bands, not through them
        assert [ends for at, *ends in places if at == x] == [["22.0", "66.0"], ["96.0", "118.0"]]
    assert {line.get("x1") for line in elements(drawn, "line", "reference")} == {"52.50%"}
    assert [text.text for text in elements(drawn, "text", "label")] == ["first", "second"]
    assert ElementTree.fromstring(str(drawn))[0].get("class") == "grid"  # under everything else


@pytest.mark.parametrize(
    "interval, ends",
    [
        ((20.0, 30.0, 40.0), [("36.00%", "47.00%")]),
        ((None, 10.0, None), []),
        ((None, 10.0, 30.0), [("25.00%", "41.50%")]),
        ((60.0, 70.0, None), [("58.00%", "80.00%")]),
    ],
)
def test_an_estimate_has_its_whisker_between_its_name_and_its_value(
    interval: tuple[float | None, float, float | None], ends: list[tuple[str, str]]
) -> None:
    chart = bands()
    (y,) = chart.band("", 1)
    chart.estimate(y, interval, ("disc", "shared"), name="name", words="value", tip="tip")
    drawn = chart.render()
    assert [(line.get("x1"), line.get("x2")) for line in elements(drawn, "line", "interval")] == ends
    (words,) = elements(drawn, "text", "value")
    assert (words.text, words.get("x"), words.get("text-anchor")) == ("value", "100.00%", "end")
    assert len(elements(drawn, "path", "shared")) == 1


def test_no_line_runs_through_a_lane_of_words() -> None:
    chart = bands()
    _, y, _ = chart.band("band", 3)
    chart.note(y, "name", "no value")
    drawn = chart.render()
    pieces = {(line.get("y1"), line.get("y2")) for line in elements(drawn, "line", "grid")}
    assert pieces == {("22.0", "44.0"), ("66.0", "88.0")}


def test_a_panel_goes_up_or_down_and_leaves_out_empty_curves() -> None:
    up = Plot("up", Axis(0, 10, pad_percent=0), Axis(0, 4, pad_percent=0), top=10, height=100)
    down = Plot("down", Axis(0, 10, pad_percent=0), Axis(4, 0, pad_percent=0), top=10, height=100)
    assert [up.y_at(v) for v in (0, 1, 4)] == [110, 85, 10]
    assert [down.y_at(v) for v in (0, 1, 4)] == [10, 35, 110]
    up.curve([(0, 0), (5, 4)], "line")
    up.curve([], "line")
    (curve,) = elements(up.svg(1), "path", "line")
    assert curve.get("d") == "M0.00 100.00 L50.00 0.00"


def test_a_panel_names_its_ticks_inside_the_drawing() -> None:
    plot = Plot("p", Axis(0, 10, pad_percent=0), Axis(0, 4, pad_percent=0), top=10, height=100)
    plot.grid([(0, "zero"), (5, "five"), (10, "ten")])
    plot.name_lines("{:g}".format)
    drawn = plot.svg(1)
    names = elements(drawn, "text", "tick")
    assert [name.get("text-anchor") for name in names[:3]] == ["start", "middle", "end"]
    assert [name.text for name in names[3:]] == ["0", "2", "4"]
    assert [line.get("y1") for line in elements(drawn, "line", "grid")] == ["110.0", "60.0", "10.0"]


def test_bars_share_a_scale_and_segments_follow_each_other() -> None:
    rows = [
        BarRow("a", "4", [(1, "shared"), (3, "exclusive")], "tip"),
        BarRow("b", "2", [(2, "shared")], "tip"),
    ]
    drawn = bar_rows("bars", rows)
    shared, exclusive = elements(drawn, "rect", "shared"), elements(drawn, "rect", "exclusive")
    assert [bar.get("width") for bar in shared] == ["25.00%", "50.00%"]
    assert [(bar.get("x"), bar.get("width")) for bar in exclusive] == [("25.00%", "75.00%")]
    assert ElementTree.fromstring(str(drawn)).get("height") == "72"


@pytest.mark.parametrize(
    "n_layers, names",
    [
        (1, [("layer 0", "20.00%", "start")]),
        (2, [("layer 0", "20.00%", "start"), ("layer 1", "100.00%", "end")]),
        (4, [("layer 0", "20.00%", "start"), ("layer 2", "70.00%", "middle"), ("layer 3", "100.00%", "end")]),
    ],
)
def test_first_middle_and_last_layer_are_named(n_layers: int, names: list[tuple[str, str, str]]) -> None:
    drawing = Drawing("layers")
    name_layers(drawing, n_layers, 10, left=20)
    found = elements(drawing.svg(20), "text", "tick")
    assert [(text.text, text.get("x"), text.get("text-anchor")) for text in found] == names
