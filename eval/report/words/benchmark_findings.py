"""What the benchmark verdicts say, in the sentences that open the page."""

from __future__ import annotations

from collections import Counter

import numpy as np

from polyneuron.eval.report.numbers.benchmarks import BASE, SAMPLE, Judged, Results, points
from polyneuron.eval.report.numbers.study import Row
from polyneuron.eval.report.words.benchmark_words import SAMPLE_WORDS
from polyneuron.eval.report.words.findings import Finding
from polyneuron.eval.report.words.wording import listing, number, plural

_SETS = {
    "shared": "the shared set",
    "exclusive": "the exclusive sets",
    "strict_exclusive": "the strictly exclusive sets",
}


def benchmark_findings(results: Results) -> list[Finding]:
    """What the verdicts say, for the list at the head of the page: one finding per kind of set."""
    kinds = {row["data"] for row in results.rows()} - {"none"}
    if kinds == {SAMPLE}:
        return [Finding("The benchmark scores below are no finding.", f"The items {SAMPLE_WORDS}.", "note")]
    groups: dict[str, list[Judged]] = {}
    for variant in results.changed:
        if variant.control_of is None:
            groups.setdefault(_SETS.get(variant.kind, variant.name), []).append(variant)
    found = [f for name, group in groups.items() if (f := _finding(results, name, group)) is not None]
    warning = f" Some items {SAMPLE_WORDS}." if SAMPLE in kinds else ""
    return [Finding(f.headline, f.evidence + warning, f.tone) for f in found]


def _finding(results: Results, name: str, group: list[Judged]) -> Finding | None:
    names = {variant.name for variant in group}
    rows = [row for key, row in results.verdicts.items() if key[2] in names and key[3] == BASE]
    if not rows:
        return None
    tally = Counter(row["verdict"] for row in rows)
    n = len(rows) - tally["not judged"]
    evidence = f"Over {plural(len(rows), 'comparison')} with the unchanged model: {tally_words(rows)}."
    widths = [(row["high"] - row["low"]) / 2 for row in rows if None not in (row["low"], row["high"])]
    if widths:
        reach = number(points(float(np.median(widths))), 2)
        evidence += f" The intervals reach {reach} points to each side (median)."
    draws = {draw.name for variant in group for draw in results.controls_of(variant.name)}
    against = [row for key, row in results.verdicts.items() if key[2] in names and key[3] in draws]
    evidence += (
        f" Against {plural(len(draws), 'random draw')} of the same size, over {plural(len(against), 'comparison')}: "
        f"{tally_words(against)}."
        if against
        else " Random neurons were not judged for comparison."
    )
    worse, better = tally["worse"], tally["better"]
    headline = f"Benchmarks, {name}"
    if not n:
        return Finding(f"{headline}: nothing could be judged.", evidence, "note")
    if not worse and not better:
        return Finding(f"{headline}: no change of a score is shown.", evidence, "no")
    which = [f"{word} in {k}" for word, k in (("worse", worse), ("better", better)) if k]
    return Finding(
        f"{headline}: {listing(which)} of {n}.", evidence, "yes" if n in (worse, better) else "mixed"
    )


def tally_words(rows: list[Row]) -> str:
    """``2 worse, none better, 4 no evidence``."""
    tally = Counter(row["verdict"] for row in rows)
    words = [f"{tally[name] or 'none'} {name}" for name in ("worse", "better")]
    return ", ".join(
        [*words, *(f"{tally[name]} {name}" for name in ("no evidence", "not judged") if tally[name])]
    )
