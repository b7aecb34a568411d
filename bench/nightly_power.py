"""How often the nightly gate alarms without cause, and how small a drop it finds, by simulation.

    python -m bench.nightly_power [--alarms 400] [--nights 50]

Both nights of a simulated pair are drawn from the same law: most items are answered alike on both, and a share of
unstable ones (numerics near a tie) falls either way with probability 1/2, so that a given share of items differs
between the nights. Every night is fresh, baseline included, so the rates are those of independent nights. For the power,
items in one benchmark and language lose what makes its expected score fall by the points given.
"""

import argparse
import time
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polyneuron.eval.nightly.baseline import SETTINGS, NightResults
from polyneuron.eval.nightly.judge import Judgement, Outcome, judge_results
from polyneuron.eval.verdicts.pairing import Key
from polyneuron.eval.verdicts.statistics import wilson
from polyneuron.eval.verdicts.verdict import WORSE

Values = npt.NDArray[np.float64]
ALPHA = 0.05
MODEL, VARIANT = "simulated", "base"
HASHES = ("doc_hash", "prompt_hash", "tokens_hash")
LANGUAGES = ("en", "zh", "th", "sw", "fr", "de")
BENCHMARKS = {
    "mgsm": (250, "exact_match", "flexible-extract"),
    "mmmlu": (1000, "acc", "none"),
    "xnli": (2490, "acc", "none"),
    "xquad": (1190, "f1", "none"),
}
"""Items of a language, metric and answer filter."""
ACCURACY = dict(zip(LANGUAGES, (0.80, 0.70, 0.55, 0.35, 0.70, 0.70), strict=True))
FLIPS = (0.0, 0.01, 0.03)
DROPS = (1, 2, 3, 5, 8)
POWER_LANGUAGE, POWER_FLIPS = "th", 0.01


@dataclass(frozen=True)
class Suite:
    """Everything of a night but the values. rows: where each benchmark and language lies in `samples`."""

    samples: pa.Table
    scores: dict[tuple[str, Key], dict[str, object]]
    rows: dict[tuple[str, str], slice]

    def night(self, label: str, values: Values) -> NightResults:
        """A night with these values."""
        return NightResults(label, self.scores, {}, self.samples.append_column("value", pa.array(values)))


def suite() -> Suite:
    """Six languages by four benchmarks, with real item counts."""
    parts, scores, rows, start = [], {}, {}, 0
    for benchmark, (n, metric, answer_filter) in BENCHMARKS.items():
        for language in LANGUAGES:
            hashes = pa.array([f"{benchmark}-{language}-{i}" for i in range(n)])
            constants = {
                "variant": VARIANT,
                "benchmark": benchmark,
                "language": language,
                "metric": metric,
                "filter": answer_filter,
                "task": f"{benchmark}_{language}",
            }
            columns = {name: pa.repeat(value, n) for name, value in constants.items()}
            columns |= {"item": pa.array(range(n))} | dict.fromkeys(HASHES, hashes)
            parts.append(pa.table(columns))
            settings = dict.fromkeys(SETTINGS) | {"primary": True}
            scores[VARIANT, (benchmark, language, metric, answer_filter)] = settings
            rows[benchmark, language] = slice(start, start + n)
            start += n
    return Suite(pa.concat_tables(parts), scores, rows)


def two_nights(made: Suite, flips: float, generator: np.random.Generator) -> tuple[Values, Values]:
    """Values of two nights between which nothing has changed; a share `flips` of the items differs."""
    nights = np.empty((2, len(made.samples)))
    for (benchmark, language), rows in made.rows.items():
        n, accuracy = BENCHMARKS[benchmark][0], ACCURACY[language]
        first = _answers(benchmark, accuracy, n, generator)
        second = 1 - first if benchmark != "xquad" else _answers(benchmark, accuracy, n, generator)
        unstable = generator.random(n) < 2 * flips
        for night in nights:
            night[rows] = np.where(unstable & (generator.random(n) < 0.5), second, first)
    return nights[0], nights[1]


def _answers(benchmark: str, accuracy: float, n: int, generator: np.random.Generator) -> Values:
    """Right or wrong; for XQuAD F1 values: many 0 and 1, and fractions of few words between."""
    right = (generator.random(n) < accuracy).astype(np.float64)
    if benchmark != "xquad":
        return right
    partial = generator.random(n) < 0.4
    words = generator.integers(2, 12, n)
    return np.where(partial, np.round(generator.random(n) * words) / words, right)


def dropped(values: Values, points: float, generator: np.random.Generator) -> Values:
    """`values` with as many of their items lost as lower the expected mean by `points` of 100."""
    return np.where(generator.random(len(values)) < points / 100 / values.mean(), 0.0, values)


def judged(made: Suite, tonight: Values, before: Values, seed: int) -> Judgement:
    """The real judgement of two simulated nights."""
    nights = made.night("tonight", tonight), made.night("before", before)
    return judge_results(MODEL, *nights, [VARIANT], alpha=ALPHA, min_effect=0.0, seed=seed)


def share(successes: int, n: int) -> str:
    """A share in percent with its 95% Wilson interval."""
    low, high = wilson(successes, n)
    return f"{100 * successes / n:5.1f}% ({100 * low:.1f} to {100 * high:.1f})"


def main() -> None:
    """Prints the rate of needless alarms and the power curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--alarms", type=int, default=400, help="nights without change, for each rate of flips"
    )
    parser.add_argument("--nights", type=int, default=50, help="nights for each planted drop")
    arguments = parser.parse_args()
    made, began = suite(), time.perf_counter()
    print(f"{len(made.scores)} comparisons a night, {len(made.samples)} items, alpha {ALPHA}")
    print(f"\nnights without change that alarm, of {arguments.alarms} (95% interval)")
    for flips in FLIPS:
        generator = np.random.default_rng([1, round(1000 * flips)])
        outcomes = []
        for night in range(arguments.alarms):
            before, tonight = two_nights(made, flips, generator)
            outcomes.append(judged(made, tonight, before, night).outcome)
        assert Outcome.NOT_JUDGED not in outcomes
        alarms = share(outcomes.count(Outcome.REGRESSION), len(outcomes))
        print(f"  {100 * flips:g}% of items differ: {alarms}")
    print(f"  ({(time.perf_counter() - began) / len(FLIPS) / arguments.alarms * 1000:.0f} ms a night)")
    print(
        f"\ndrops in {POWER_LANGUAGE} that are found, of {arguments.nights} nights each "
        f"({100 * POWER_FLIPS:g}% of items differ besides)"
    )
    for (benchmark, (n, *_)), points in product(BENCHMARKS.items(), DROPS):
        generator, rows = np.random.default_rng([2, n, points]), made.rows[benchmark, POWER_LANGUAGE]
        wanted, n_found = (benchmark, POWER_LANGUAGE, WORSE), 0
        for night in range(arguments.nights):
            before, tonight = two_nights(made, POWER_FLIPS, generator)
            tonight[rows] = dropped(tonight[rows], points, generator)
            verdicts = judged(made, tonight, before, night).verdicts
            n_found += wanted in {(v.benchmark, v.language, v.verdict) for v in verdicts}
        print(f"  {benchmark:6} {n:5} items, {points} points: {share(n_found, arguments.nights)}")
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
