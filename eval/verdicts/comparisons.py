"""Paired comparisons of per-item benchmark results: of two variants, or of two nights of one variant.

Rows of the table `samples` in, rows of the table `verdicts` out. All metrics are taken to be better when higher.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import xxhash

from polyneuron.eval.store.schemas import VERDICTS
from polyneuron.eval.verdicts.pairing import Key, grouped, paired
from polyneuron.eval.verdicts.statistics import (
    holm,
    mcnemar_exact,
    paired_bootstrap,
    paired_share_interval,
)
from polyneuron.eval.verdicts.verdict import BETTER, NO_EVIDENCE, NOT_JUDGED, WORSE, Verdict

Sided = Literal["two-sided", "worse"]
"""What is tested: any difference, or only a loss. A test for a loss never finds anything better."""

_N_BOOTSTRAP = 2000
_DRAWS_BEYOND = 10
"""So many resampled means beyond the observed one, at the strictest level of the family, make its p-value firm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two tables of samples of one model, and their names."""

    samples: pa.Table
    """Of what is judged: rows of the table `samples`."""
    baseline: pa.Table
    """Of what it is judged against."""
    model: str
    """The model's name in the study."""
    night: str | None
    """Label of the night that is judged; None in a study."""
    variant: str
    """What is judged."""
    baseline_name: str
    """The other variant, or the other night's label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A pair under one benchmark, language, metric and filter, before it is judged."""

    pair: Pair
    """What is judged, and against what."""
    key: Key
    """The benchmark, language, metric and filter."""
    n_pairs: int = 0
    """Items scored on both sides."""
    means: tuple[float, float, float] | None = None
    """Of the variant, of the baseline, and of their difference."""
    interval: tuple[float, float] | None = None
    """The 95% interval of the difference."""
    test: str | None = None
    """The test's name; None where there was none."""
    p_values: Mapping[Sided, float] | None = None
    """By what is tested."""
    reason: str | None = None
    """Why it cannot be judged, or which items were left out."""


def verdicts_of(
    pairs: Sequence[Pair],
    primary: Collection[tuple[str, str, str]],
    *,
    alpha: float,
    min_effect: float,
    seed: int = 0,
) -> list[Verdict]:
    """Two-sided verdicts of all pairs as one family: every (benchmark, metric, filter) of `primary` in every language.

    What is not primary gets no verdict, so that it does not weaken those that count. Ordered by pair, then by
    benchmark, language, metric and filter.
    """
    chosen = [(pair, _keys(pair, primary)) for pair in pairs]
    found = measure(chosen, alpha=alpha, seed=seed)
    return decide(found, alpha=alpha, min_effect=min_effect, alternative="two-sided")


def measure(chosen: Sequence[tuple[Pair, Collection[Key]]], *, alpha: float, seed: int = 0) -> list[Measured]:
    """Pairs the items and tests each key of each pair, two-sided and for a loss. One result per pair and key.

    Right-or-wrong values are tested by McNemar's exact test, others by a paired bootstrap. Its resamples
    grow with the family: Holm multiplies the smallest p-value by the family's size, so with few resamples even
    the smallest possible one could not reach alpha.
    """
    family = sum(len(keys) for _, keys in chosen)
    n_resamples = max(_N_BOOTSTRAP, math.ceil(_DRAWS_BEYOND * family / alpha))
    measured = []
    for pair, keys in chosen:
        left, right = grouped(pair.samples), grouped(pair.baseline)
        for key in sorted(keys):
            digest = xxhash.xxh3_64_intdigest("\0".join((pair.variant, *key)).encode())
            sides = left.get(key), right.get(key)
            measured.append(_measure(Measured(pair=pair, key=key), sides, n_resamples, [seed, digest]))
    return measured


def decide(
    measured: Sequence[Measured], *, alpha: float, min_effect: float, alternative: Sided
) -> list[Verdict]:
    """Verdicts of `measured`, adjusted over all of them (Holm).

    "worse" or "better": p_adjusted <= alpha and the difference in that direction is at least `min_effect`
    (a fraction of 1 for benchmarks) and not 0. "no evidence": tested, and not so. "not judged": no test.
    """
    p_values = [None if each.p_values is None else each.p_values[alternative] for each in measured]
    verdicts = []
    for each, p_value, adjusted in zip(measured, p_values, holm(p_values), strict=True):
        benchmark, language, metric, answer_filter = each.key
        value, baseline_value, delta = each.means or (None, None, None)
        low, high = each.interval or (None, None)
        verdicts.append(
            Verdict(
                model=each.pair.model,
                night=each.pair.night,
                benchmark=benchmark,
                language=language,
                metric=metric,
                filter=answer_filter,
                variant=each.pair.variant,
                baseline=each.pair.baseline_name,
                n_pairs=each.n_pairs,
                value=value,
                baseline_value=baseline_value,
                delta=delta,
                low=low,
                high=high,
                test=None if p_value is None else f"{each.test}, {_SIDES[alternative]}",
                p_value=p_value,
                p_adjusted=adjusted,
                alpha=alpha,
                min_effect=min_effect,
                verdict=_verdict(delta, adjusted, alpha, min_effect, alternative),
                reason=each.reason,
            )
        )
    return verdicts


_SIDES: dict[Sided, str] = {"two-sided": "two-sided", "worse": "one-sided (worse)"}


def verdict_table(verdicts: Iterable[Verdict]) -> pa.Table:
    """Rows for the store's table verdicts, without run_id and unit."""
    return VERDICTS.table([asdict(verdict) for verdict in verdicts])


def _verdict(
    delta: float | None, adjusted: float | None, alpha: float, min_effect: float, alternative: Sided
) -> str:
    if delta is None or adjusted is None:
        return NOT_JUDGED
    if adjusted > alpha or delta == 0 or abs(delta) < min_effect:
        return NO_EVIDENCE
    if delta < 0:
        return WORSE
    return BETTER if alternative == "two-sided" else NO_EVIDENCE


def _measure(
    unjudged: Measured, sides: tuple[pa.Table | None, pa.Table | None], n_resamples: int, seed: Sequence[int]
) -> Measured:
    """`unjudged` with its means and p-values, or the reason why it has none. sides: its rows, and the baseline's."""
    pair = unjudged.pair
    for side, name in zip(sides, (_title(pair), pair.baseline_name), strict=True):
        if side is None:
            return replace(unjudged, reason=f"{name} holds no items of it")
    matched = paired(*sides)
    if isinstance(matched, str):
        return replace(unjudged, reason=matched)
    values, base = matched
    known = ~(np.isnan(values) | np.isnan(base))
    n_dropped, values, base = int((~known).sum()), values[known], base[known]
    reason = f"{n_dropped} of {len(known)} items left out: not scored on both sides" if n_dropped else None
    n = len(values)
    if not n:
        return replace(unjudged, reason=f"none of {len(known)} items is scored on both sides")
    measured = replace(
        unjudged,
        n_pairs=n,
        means=(float(values.mean()), float(base.mean()), float((values - base).mean())),
        reason=reason,
    )
    if np.isin(values, (0, 1)).all() and np.isin(base, (0, 1)).all():
        only, only_base = int((values > base).sum()), int((base > values).sum())
        return replace(
            measured,
            interval=paired_share_interval(only, only_base, n),
            test="McNemar's exact test",
            p_values={
                "two-sided": mcnemar_exact(only, only_base),
                "worse": mcnemar_exact(only, only_base, "less"),
            },
        )
    found = paired_bootstrap(values - base, n_resamples, seed)
    return replace(
        measured,
        interval=(found.low, found.high),
        test="paired bootstrap",
        p_values={"two-sided": found.p_values["two-sided"], "worse": found.p_values["less"]},
    )


def _keys(pair: Pair, primary: Collection[tuple[str, str, str]]) -> set[Key]:
    return {
        key
        for samples in (pair.samples, pair.baseline)
        for key in grouped(samples)
        if (key[0], key[2], key[3]) in primary
    }


def _title(pair: Pair) -> str:
    return pair.variant if pair.night is None else f"{pair.variant} of night {pair.night}"
