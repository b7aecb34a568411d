"""How often paired tests alarm where nothing has changed, and how often intervals hold the truth, by simulation.

    python -m bench.error_rates [--families 400] [--jobs 2]

Nothing has changed: an item's two scores are two draws from one law, which may differ from item to item. A family alarms when any
of its comparisons is called worse (one-sided), or different (two-sided), by the tests, the least number of items and Holm's
correction that verdicts use.
"""

import argparse
import itertools
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt

from polyneuron.eval.verdicts.comparisons import RIGHT_OR_WRONG, Measured, Sided, decide
from polyneuron.eval.verdicts.statistics import (
    draws_for,
    mcnemar_exact,
    mean_interval,
    paired_mean_interval,
    paired_share_interval,
    sign_flip,
    wilson,
)
from polyneuron.eval.verdicts.verdict import NO_EVIDENCE, NOT_JUDGED, Verdict

Values = npt.NDArray[np.float64]
Law = Callable[[np.random.Generator, int], Values]
ALPHA = 0.05
SIZES = (1, 2, 3, 5, 8, 12, 20, 50, 100, 250, 500)
FAMILIES = (1, 6, 24, 100)


def right_or_wrong(generator: np.random.Generator, n: int) -> Values:
    """Two nights of answers, some items easy and some hard, [2, n]."""
    return (generator.random((2, n)) < generator.beta(0.5, 0.5, n)).astype(np.float64)


def ties(generator: np.random.Generator, n: int) -> Values:
    """Few distinct scores, so that many items are equal on both nights."""
    return generator.choice([0.0, 0.5, 1.0], (2, n))


def heavy_zeros(generator: np.random.Generator, n: int) -> Values:
    """Five items in a hundred are answered otherwise, and then by any score."""
    scores = generator.random((2, n))
    return np.where(generator.random(n) < 0.05, scores, scores[0])


def skew(generator: np.random.Generator, n: int) -> Values:
    """Most scores near 1, a few far below, and sizes of differences over three orders of magnitude."""
    return 1 - generator.beta(0.1, 2, (2, n))


LAWS: dict[str, tuple[str, Law]] = {
    "right or wrong": ("acc", right_or_wrong),
    "ties": ("f1", ties),
    "heavy zeros": ("f1", heavy_zeros),
    "skew": ("f1", skew),
}
"""Metric and law of the scores."""


def comparison(metric: str, night: Values, before: Values, n_draws: int, seed: list[int]) -> Measured:
    """What `measure` makes of two nights' scores [n], without the tables that they come from."""
    verdict = Verdict(
        model="m",
        night=None,
        benchmark="b",
        language="l",
        metric=metric,
        filter="none",
        variant="v",
        baseline="base",
        alpha=ALPHA,
        min_effect=0.0,
        n_pairs=len(night),
        delta=float((night - before).mean()),
    )
    if metric in RIGHT_OR_WRONG:
        only, only_before = int((night > before).sum()), int((before > night).sum())
        found = {name: mcnemar_exact(only, only_before, name) for name in ("two-sided", "less")}
    else:
        found = sign_flip(night - before, n_draws, seed)
    return Measured(verdict, {"two-sided": found["two-sided"], "worse": found["less"]})


def alarms(law: str, n: int, size: int, families: int) -> dict[Sided, tuple[int, int]]:
    """How many of the families without a change alarm, and how many of them are judged at all."""
    metric, draw = LAWS[law]
    generator = np.random.default_rng([n, size, len(law)])
    n_draws = draws_for(size, ALPHA)
    counts: dict[Sided, tuple[int, int]] = {"worse": (0, 0), "two-sided": (0, 0)}
    for family in range(families):
        pairs = (draw(generator, n) for _ in range(size))
        measured = [
            comparison(metric, night, before, n_draws, [family, i]) for i, (night, before) in enumerate(pairs)
        ]
        for sided, (alarmed, judged) in counts.items():
            words = {verdict.verdict for verdict in decide(measured, sided)}
            counts[sided] = (
                alarmed + bool(words - {NO_EVIDENCE, NOT_JUDGED}),
                judged + (words != {NOT_JUDGED}),
            )
    return counts


def coverage(law: str, n: int, repeats: int) -> tuple[int, int]:
    """How many of the intervals of a mean, and of a mean difference, hold the true one."""
    metric, draw = LAWS[law]
    generator = np.random.default_rng([n, len(law)])
    truth = float(np.mean([draw(generator, 500).mean() for _ in range(1000)]))
    of_mean = of_difference = 0
    for _ in range(repeats):
        night, before = draw(generator, n)
        if metric in RIGHT_OR_WRONG:
            low, high = wilson(int(night.sum()), n)
            ends = paired_share_interval(int((night > before).sum()), int((before > night).sum()), n)
        else:
            found, ends = mean_interval(night), paired_mean_interval(night - before)
            low, high = found.low, found.high
        of_mean += low <= truth <= high
        of_difference += ends[0] <= 0 <= ends[1]
    return of_mean, of_difference


def main() -> None:
    """Prints a row for each law and number of items, and the largest rate of all cells beside what chance allows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", type=int, default=400, help="families without a change, in each cell")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    arguments = parser.parse_args()
    families, cells = arguments.families, list(itertools.product(LAWS, SIZES))
    print(f"families that alarm though nothing has changed, % of {families} (alpha {ALPHA:g}):")
    print("one-sided / two-sided, by comparisons in the family; –: too few items to judge")
    print(
        f"{'law':15} items  "
        + " ".join(f"{size:>13}" for size in FAMILIES)
        + "   intervals that hold: mean, difference"
    )
    worst, above = 0, 0
    with ProcessPoolExecutor(arguments.jobs) as pool:
        grids = {
            size: pool.map(partial(alarms, size=size, families=families), *zip(*cells, strict=True))
            for size in FAMILIES
        }
        covers = pool.map(partial(coverage, repeats=2000), *zip(*cells, strict=True))
        for (law, n), held, *row in zip(cells, covers, *grids.values(), strict=True):
            shown = []
            for found in row:
                texts = []
                for alarmed, judged in found.values():
                    worst, above = max(worst, alarmed), above + (wilson(alarmed, families)[0] > ALPHA)
                    texts.append(f"{100 * alarmed / families:.1f}" if judged else "–")
                shown.append(f"{' / '.join(texts):>13}")
            print(
                f"{law:15} {n:5}  "
                + " ".join(shown)
                + "   "
                + ", ".join(f"{count / 20:.1f}%" for count in held),
                flush=True,
            )
    low, high = wilson(worst, families)
    print(f"largest rate {100 * worst / families:.1f}% (95% interval {100 * low:.1f} to {100 * high:.1f})")
    n_cells = 2 * len(cells) * len(FAMILIES)
    print(
        f"{above} of {n_cells} cells have an interval above alpha; by chance {0.025 * n_cells:.0f} would, were all at alpha"
    )


if __name__ == "__main__":
    main()
