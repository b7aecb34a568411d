"""A table as LaTeX: what it says stays text, and every row has as many cells as there are columns."""

import re

from hypothesis import given
from hypothesis import strategies as st

from polyneuron.eval.tables.grid import Cell, Column, grid, line
from polyneuron.eval.tables.latex import escape_latex, latex

SPECIAL = r"50% & #1 a_b {x} ~ ^ $5 \input{/etc/passwd}"


def test_a_table_by_hand() -> None:
    columns = ["language", Column(text="score", over="base"), Column(text="score", over="shared & more")]
    row = line("Swahili", Cell(text="×1.4", details=("1.2–1.6",)), Cell(text="20", marks=("▼ worse",)))
    assert latex(grid("Scores", columns, [row], caption="In points.")) == "\n".join(
        [
            r"\begin{table}",
            r"\caption{Scores. In points.}",
            r"\begin{tabular}{lrr}",
            r"\toprule",
            r"\multicolumn{1}{c}{} & \multicolumn{1}{c}{base} & \multicolumn{1}{c}{shared \& more} \\",
            r"language & score & score \\",
            r"\midrule",
            r"Swahili & $\times$1.4 (1.2--1.6) & 20 $\downarrow$ worse \\",
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def test_special_characters_are_spelt_out() -> None:
    assert escape_latex(SPECIAL) == (
        r"50\% \& \#1 a\_b \{x\} \textasciitilde{} \textasciicircum{} \$5 \textbackslash{}input\{/etc/passwd\}"
    )


SPELT = r"\\text(backslash|asciitilde|asciicircum|less|greater|bar)\{\}|\\[&%$#_{}]|\$(\\[a-z]+|-|\^(\d|-))\$"


@given(st.text(max_size=60) | st.text(alphabet="\\&%$#_{}~^<>|×⁻² a\n", max_size=20))
def test_no_text_is_read_as_a_command_or_ends_a_cell(text: str) -> None:
    rest = re.sub(SPELT, "", escape_latex(text))
    assert not re.search(r"[\\&%$#_{}~^\n]", rest)
