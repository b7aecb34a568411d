"""A table as LaTeX, for papers: a `tabular` with the rules of the package booktabs."""

from itertools import groupby

from polyneuron.eval.tables.grid import Cell, Column, Grid
from polyneuron.eval.tables.text import visible

_SPELT = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "×": r"$\times$",
    "÷": r"$\div$",
    "−": r"$-$",
    "∞": r"$\infty$",
    "σ": r"$\sigma$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "–": "--",
    "’": "'",
    "▲": r"$\uparrow$",
    "▼": r"$\downarrow$",
    "○": r"$\circ$",
    **{sign: f"$^{value}$" for value, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    "⁻": "$^-$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def latex(grid: Grid) -> str:
    """The table with its title and caption, as text that compiles after `\\usepackage{booktabs}`; what the title, heads and cells
    say stays text. Small print follows in brackets."""
    alignments = "".join("l" if column.align == "left" else "r" for column in grid.columns)
    rows = [" & ".join(map(_in_a_line, line.cells)) for line in grid.rows]
    heads = [*_heads_over(grid), " & ".join(escape_latex(column.text) for column in grid.columns) + r" \\"]
    caption = " ".join(filter(None, (escape_latex(grid.title) + ".", escape_latex(grid.caption))))
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{caption}}}",
            rf"\begin{{tabular}}{{{alignments}}}",
            r"\toprule",
            *heads,
            r"\midrule",
            *(rf"{row} \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape_latex(text: str) -> str:
    """The text in one line, with every character that LaTeX would read spelt out."""
    return "".join(_SPELT.get(sign, sign) for sign in visible(text))


def _heads_over(grid: Grid) -> list[str]:
    """The line of heads that stand over several columns, where there are any."""
    if not any(column.over for column in grid.columns):
        return []
    spans = [
        rf"\multicolumn{{{len(list(columns))}}}{{c}}{{{escape_latex(over)}}}"
        for over, columns in groupby(grid.columns, key=_over)
    ]
    return [" & ".join(spans) + r" \\"]


def _over(column: Column) -> str:
    return column.over


def _in_a_line(cell: Cell) -> str:
    main = [escape_latex(part) for part in (cell.text, cell.raised, *cell.marks) if part]
    details = ", ".join(map(escape_latex, cell.details))
    return " ".join([*main, *([f"({details})" if main else details] if details else [])])
