"""One table, written three ways: the cells are those of the grid, and text from outside stays text in each."""

from __future__ import annotations

import io
import re

import lxml.html
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from polyneuron.eval.tables.grid import Cell, Column, Grid, grid, line
from polyneuron.eval.tables.html import html
from polyneuron.eval.tables.text import markdown, terminal, visible

HOSTILE = '</td><script>alert(1)</script>|`a`[link](x)[bold]"\n<b>'
WORSE = Cell(
    text="20.0",
    raised="−3.0",
    marks=("▼ worse",),
    details=("−4.0 to −2.0", "50 items"),
    shade=2,
    tone="worse",
)


def scores(**named: str) -> Grid:
    columns = ["language", Column(text="MGSM"), Column(text="remark", align="left")]
    rows = [line("Swahili", WORSE, "seen"), line(Cell(text="draws", details=("2",)), "", "", tone="draws")]
    return grid("Scores", columns, rows, **named)


def printed(shown: Grid, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, no_color=True).print(terminal(shown))
    return out.getvalue()


def test_the_first_cell_of_a_row_names_it() -> None:
    first, second = scores().rows
    assert first.cells[0] == Cell(text="Swahili", header=True) and first.cells[1] is WORSE
    assert second.cells[0].header and not second.cells[1].header
    assert [column.align for column in scores().columns] == ["left", "right", "left"]


def test_uneven_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="Scores"):
        grid("Scores", ["a", "b"], [["1", "2"], ["3"]])


def test_html_by_hand() -> None:
    assert html(scores(tone="heat scores", id="t")) == (
        '<div class="scroll" tabindex="0" role="group" aria-label="Scores"><table id="t" class="heat scores">\n'
        '<thead><tr><th scope="col" class="words">language</th><th scope="col">MGSM</th>'
        '<th scope="col" class="words">remark</th></tr></thead>\n'
        '<tbody><tr><th scope="row">Swahili</th><td class="h2 worse">20.0 <sup>−3.0</sup> <span>▼ worse</span>'
        '<small>−4.0 to −2.0</small><small>50 items</small></td><td class="words">seen</td></tr>\n'
        '<tr class="draws"><th scope="row">draws<small>2</small></th><td></td><td class="words"></td></tr></tbody>\n'
        "</table></div>"
    )


def test_heads_over_heads_span_what_stands_below() -> None:
    over = {"over": "shared", "detail": "12 neurons"}
    columns = [
        "language",
        Column(text="score", over="base"),
        Column(text="score", **over),
        Column(text="− base", **over),
    ]
    head, below = lxml.html.fromstring(html(grid("t", columns, []))).xpath("//thead/tr")
    assert [(th.text, th.get("rowspan"), th.get("colspan"), th.get("scope")) for th in head] == [
        ("language", "2", None, "col"),
        ("base", None, None, "col"),
        ("shared", None, "2", "colgroup"),
    ]
    assert [th.text for th in below] == ["score", "score", "− base"] and head.findtext(
        ".//small"
    ) == "12 neurons"


def test_marks_of_a_cell_become_attributes() -> None:
    cell = Cell(text="1", framed=True, title="tip", key="all.shared", shade=0)
    (found,) = lxml.html.fromstring(html(grid("t", ["a", Column(text="b", code=True)], [["x", cell]]))).xpath(
        "//td"
    )
    assert dict(found.attrib) == {"class": "h0 own-cell code", "title": "tip", "data-cell": "all.shared"}


def test_markdown_by_hand() -> None:
    assert markdown(scores(caption="In points.")) == (
        "In points.\n\n| language | MGSM | remark |\n| --- | ---: | --- |\n"
        "| Swahili | 20.0 −3.0 ▼ worse (−4.0 to −2.0, 50 items) | seen |\n| draws (2) |  |  |\n"
    )


def test_a_reason_alone_needs_no_brackets() -> None:
    assert "| not measured |" in markdown(grid("t", ["a", "b"], [["x", Cell(details=("not measured",))]]))


def test_a_terminal_has_a_line_for_each_part() -> None:
    cells = [
        [part.strip() for part in row.split("│")[1:-1]]
        for row in printed(scores()).splitlines()
        if "│" in row
    ]
    assert cells == [
        ["Swahili", "20.0 −3.0", "seen"],
        ["", "▼ worse", ""],
        ["", "−4.0 to −2.0", ""],
        ["", "50 items", ""],
        ["draws", "", ""],
        ["2", "", ""],
    ]


def test_text_from_outside_stays_text() -> None:
    cell = Cell(
        text=HOSTILE,
        raised=HOSTILE,
        marks=(HOSTILE,),
        details=(HOSTILE,),
        tone=HOSTILE,
        title=HOSTILE,
        key=HOSTILE,
    )
    column = Column(text=HOSTILE, over=HOSTILE, detail=HOSTILE)
    evil = grid(
        HOSTILE, ["x", column], [line(HOSTILE, cell, tone=HOSTILE)], caption=HOSTILE, tone=HOSTILE, id=HOSTILE
    )
    tree = lxml.html.fragment_fromstring(html(evil), create_parent="div")
    assert {node.tag for node in tree.iter()} == {
        *("div", "p", "table", "thead", "tbody", "tr", "th", "td", "sup", "span", "small")
    }
    assert tree.xpath("//td")[0].text.strip() == HOSTILE.replace("\n", "\n").strip()
    lines = markdown(evil).splitlines()
    assert len(lines) == 5 and all(row.replace("\\|", "").count("|") == 3 for row in lines[2:])
    assert "[link](x)[bold]" in printed(evil, 400).replace("\n", "")


@settings(deadline=None, max_examples=60)
@example([["ภาษาไทย น้ำ", "中文字中文字", "😀"]] * 2, 30)
@given(
    st.lists(st.lists(st.text(max_size=30), min_size=3, max_size=3), min_size=2, max_size=4),
    st.integers(24, 120),
)
def test_a_terminal_cuts_nothing_off(texts: list[list[str]], width: int) -> None:
    """Every line is as wide as the terminal at most, those of a frame are even, and all letters are there, in their order."""
    head, *rows = texts
    lines = printed(grid("", head, rows), width).splitlines()
    assert max(map(cell_len, lines)) <= width
    framed = [line for line in lines if line[:1] in set("┃│┏┡└")]
    assert len(set(map(cell_len, framed))) <= 1
    shown = sorted(re.sub(r"[\s┏┓┃┡┩┳╇━│└┘┴─]", "", "".join(lines)))
    assert shown == sorted(
        re.sub(r"[\s┏┓┃┡┩┳╇━│└┘┴─]", "", "".join(visible(text) for row in texts for text in row))
    )


def test_a_narrow_terminal_gets_no_upright_lines_and_whole_numbers() -> None:
    rows = [[f"language {i}", *(f"×{i}.25 to ×{j}.75" for j in range(6))] for i in range(3)]
    shown = grid("", ["language", *(f"set {j}" for j in range(6))], rows)
    wide, narrow = printed(shown, 120), printed(shown, 50)
    assert "┃" in wide and "┃" not in narrow
    for j in range(6):
        assert narrow.count(f"×{j}.75") == 3 and wide.count(f"to ×{j}.75") == 3
