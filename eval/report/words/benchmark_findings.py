"""What the benchmark verdicts show, as kinds and values."""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from polyneuron.eval.report.numbers.benchmarks import SAMPLE, Results, points
from polyneuron.eval.report.numbers.units import Row
from polyneuron.eval.report.numbers.variants import BASE, ShownVariant
from polyneuron.eval.report.words.findings import Finding, tone_of
from polyneuron.eval.verdicts.verdict import BETTER, NOT_JUDGED, WORSE

_SETS = ("shared", "exclusive", "strict_exclusive")


def benchmark_findings(results: Results) -> list[Finding]:
    """One finding per kind of set, or that scores of samples are none."""
    if results.data() == {SAMPLE}:
        return [Finding("benchmark_samples", "note", {})]
    groups: dict[str, list[ShownVariant]] = {}
    for variant in results.changed:
        if variant.control_of is None:
            groups.setdefault(variant.kind if variant.kind in _SETS else variant.name, []).append(variant)
    found = [_finding(results, name, group) for name, group in groups.items()]
    return [finding for finding in found if finding is not None]


def tally(rows: Iterable[Row]) -> Counter[str]:
    """How many verdicts there are of each kind."""
    return Counter(row["verdict"] for row in rows)


def median_reach(rows: Iterable[Row]) -> float | None:
    """How many points the intervals reach to each side; None where none is stored."""
    widths = [(row["high"] - row["low"]) / 2 for row in rows if None not in (row["low"], row["high"])]
    return points(float(np.median(widths))) if widths else None


def _finding(results: Results, name: str, group: list[ShownVariant]) -> Finding | None:
    names = {variant.name for variant in group}
    rows = [row for key, row in results.verdicts.items() if key[2] in names and key[3] == BASE]
    if not rows:
        return None
    draws = {draw.name for variant in group for draw in results.variants.controls_of(variant.name)}
    verdicts = tally(rows)
    values = {
        "set": name,
        "verdicts": verdicts,
        "reach": median_reach(rows),
        "n_draws": len(draws),
        "against": tally(r for key, r in results.verdicts.items() if key[2] in names and key[3] in draws),
        "some_samples": SAMPLE in results.data(),
    }
    one_way = max(verdicts[WORSE], verdicts[BETTER])
    return Finding("benchmarks", tone_of(one_way, len(rows) - verdicts[NOT_JUDGED], "note"), values)
