"""How far two methods agree on a language's neurons, beside random sets of the same sizes in every layer.

Verdicts come from the stored central 95% interval of chance: more common neurons than its upper end is above chance,
fewer than its lower end is below. They are not corrected for the number of comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polyneuron.eval.report.numbers.methods import MethodSets, OtherMethods, Row
from polyneuron.eval.report.sections.method_cells import ABOVE, BELOW, WITHIN, MethodCell
from polyneuron.eval.report.words.method_words import method_name
from polyneuron.eval.report.words.wording import DASH, count, language_name, number, times

EMPTY, APART = "empty", "apart"
COMPARED = (ABOVE, WITHIN, BELOW)
MARKS = {
    ABOVE: "▲ above chance",
    WITHIN: "○ as chance",
    BELOW: "▼ below chance",
    EMPTY: "an empty set",
    APART: "no common layer",
}
_STEPS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5)


@dataclass(frozen=True)
class OverlapLine:
    a: str
    b: str
    cells: list[MethodCell]


@dataclass(frozen=True)
class LanguageMatrix:
    """One method's sets of every two languages."""

    name: str
    languages: list[str]
    lines: list[tuple[str, list[MethodCell]]]


def pairs_of(others: OtherMethods) -> list[tuple[str, str]]:
    """Pairs of methods with a stored overlap, in the order of the methods."""
    order = [sets.name for sets in others.methods]
    stored = {key[:2] for key in others.overlaps}
    return sorted(stored, key=lambda pair: (order.index(pair[0]), order.index(pair[1])))


def verdict_of(row: Row) -> str:
    if not row["n_a"] or not row["n_b"]:
        return EMPTY
    if not row["chance_common"]:
        return APART
    if row["n_common"] > row["chance_high"]:
        return ABOVE
    return BELOW if row["n_common"] < row["chance_low"] else WITHIN


def chance_ratio(row: Row) -> float | None:
    """Common neurons over those expected by chance."""
    return row["n_common"] / row["chance_common"] if row["chance_common"] else None


def overlap_lines(others: OtherMethods) -> list[OverlapLine]:
    """A line for every pair of methods, a cell for every language."""
    return [
        OverlapLine(
            method_name(a, others),
            method_name(b, others),
            [_cell(others.overlaps.get((a, b, code))) for code in others.languages],
        )
        for a, b in pairs_of(others)
    ]


def language_matrices(others: OtherMethods) -> list[LanguageMatrix]:
    """The related sets are left out, as the page has their matrix under Overlap."""
    found = []
    for sets in others.methods:
        codes = [code for code in others.languages if sets.size(code) is not None]
        if sets.name == "impact_related" or not codes:
            continue
        lines = [
            (language_name(a), [_language_cell(sets, a, b, others.n_neurons) for b in codes]) for a in codes
        ]
        names = [language_name(code) for code in codes]
        found.append(LanguageMatrix(method_name(sets.name, others), names, lines))
    return found


def layer_tally(rows: Sequence[Row]) -> dict[str, int]:
    """How many layers are above, within or below chance, of those where both methods have neurons."""
    verdicts = [verdict_of(row) for row in rows if row["layer"] is not None]
    return {name: verdicts.count(name) for name in COMPARED}


def _cell(rows: list[Row] | None) -> MethodCell:
    if rows is None:
        return MethodCell("", details=("not compared",))
    row = rows[0]
    verdict = verdict_of(row)
    if verdict not in COMPARED:
        sizes = f"{count(row['n_a'])} and {count(row['n_b'])} neurons"
        return MethodCell(DASH, MARKS[verdict], (sizes,), 0, EMPTY)
    ratio = chance_ratio(row)
    common = f"{count(row['n_common'])} common"
    expected, ends = number(row["chance_common"], 2), (count(row["chance_low"]), count(row["chance_high"]))
    details = (
        f"by chance {_jaccard(row['chance_jaccard'])}",
        f"{common}, {times(ratio)}" if ratio else common,
        f"{expected} [{ends[0]}, {ends[1]}], {p_words(row['p_value'])}",
    )
    return MethodCell(_jaccard(row["jaccard"]), MARKS[verdict], details, _shade(row["jaccard"]), verdict)


def _language_cell(sets: MethodSets, a: str, b: str, n_neurons: int) -> MethodCell:
    if a == b:
        return MethodCell("–", details=(count(sets.size(a)),))
    ours, theirs = sets.members[a], sets.members[b]
    common = len(np.intersect1d(ours, theirs, assume_unique=True))
    either = len(ours) + len(theirs) - common
    if not either:
        return MethodCell("–", details=("both empty",))
    expected = float(sets.by_layer(a) @ sets.by_layer(b)) * sets.n_layers / n_neurons
    jaccard = common / either
    details = (f"{count(common)} common", f"chance {number(expected, 2)}")
    return MethodCell(_jaccard(jaccard), "", details, _shade(jaccard))


def p_words(p_value: float) -> str:
    return "p <0.001" if p_value < 0.001 else f"p {p_value:.2f}" if p_value >= 0.1 else f"p {p_value:.3f}"


def _jaccard(value: float) -> str:
    return "<0.001" if 0 < value < 0.0005 else f"{value:.3f}"


def _shade(jaccard: float) -> int:
    return int(np.searchsorted(_STEPS, jaccard, side="right"))
