"""Paired comparisons of per-item benchmark results: of two variants, or of two nights of one variant.

Rows of the table `samples` in, rows of the table `verdicts` out. All metrics are taken to be better when higher.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import xxhash

from polyneuron.eval.store.schemas import VERDICTS
from polyneuron.eval.verdicts.pairing import Key, grouped, paired
from polyneuron.eval.verdicts.statistics import (
    holm,
    mcnemar_exact,
    paired_bootstrap_both,
    paired_share_interval,
)

BETTER, WORSE, NO_EVIDENCE, NOT_JUDGED = "better", "worse", "no evidence", "not judged"
Sided = Literal["two-sided", "worse"]
"""What is tested: any difference, or only a loss. A test for a loss never finds anything better."""

_N_BOOTSTRAP = 2000
_DRAWS_BEYOND = 10
"""So many resampled means beyond the observed one, at the strictest level of the family, make its p-value firm."""


@dataclass(frozen=True)
class Pair:
    """Two tables of samples of one model, and their names. baseline_name: the other variant, or other night."""

    samples: pa.Table
    baseline: pa.Table
    model: str
    night: str | None
    variant: str
    baseline_name: str


@dataclass(frozen=True)
class Verdict:
    """One row of the table `verdicts`. p_value, p_adjusted: of `test`; reason: why it was not judged, or what
    was left out."""

    model: str
    night: str | None
    benchmark: str
    language: str
    metric: str
    filter: str
    variant: str
    baseline: str
    n_pairs: int
    value: float | None
    baseline_value: float | None
    delta: float | None
    low: float | None
    high: float | None
    test: str | None
    p_value: float | None
    p_adjusted: float | None
    alpha: float
    min_effect: float
    verdict: str
    reason: str | None

    def as_row(self) -> dict[str, Any]:
        """The fields, as columns of the store's table verdicts."""
        return asdict(self)


@dataclass(frozen=True)
class Measured:
    """A comparison before it is judged. p_values: by what is tested; None where there is no test."""

    pair: Pair
    key: Key
    n_pairs: int = 0
    means: tuple[float, float, float] | None = None
    interval: tuple[float, float] | None = None
    test: str | None = None
    p_values: Mapping[Sided, float] | None = None
    reason: str | None = None


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
    found = []
    for pair, keys in chosen:
        left, right = grouped(pair.samples), grouped(pair.baseline)
        for key in sorted(keys):
            digest = xxhash.xxh3_64_intdigest("\0".join((pair.variant, *key)).encode())
            measured = _measure(pair, key, left.get(key), right.get(key), n_resamples, [seed, digest])
            found.append(measured)
    return found


def decide(
    measured: Sequence[Measured], *, alpha: float, min_effect: float, alternative: Sided
) -> list[Verdict]:
    """Verdicts of `measured`, adjusted over all of them (Holm).

    "worse" or "better": p_adjusted <= alpha and the difference in that direction is at least `min_effect`
    (a fraction of 1 for benchmarks) and not 0. "no evidence": tested, and not so. "not judged": no test.
    """
    p_values = [None if found.p_values is None else found.p_values[alternative] for found in measured]
    verdicts = []
    for found, p_value, adjusted in zip(measured, p_values, holm(p_values), strict=True):
        value, baseline_value, delta = found.means or (None, None, None)
        low, high = found.interval or (None, None)
        verdicts.append(
            Verdict(
                found.pair.model,
                found.pair.night,
                *found.key,
                variant=found.pair.variant,
                baseline=found.pair.baseline_name,
                n_pairs=found.n_pairs,
                value=value,
                baseline_value=baseline_value,
                delta=delta,
                low=low,
                high=high,
                test=None if p_value is None else f"{found.test}, {_SIDES[alternative]}",
                p_value=p_value,
                p_adjusted=adjusted,
                alpha=alpha,
                min_effect=min_effect,
                verdict=_verdict(delta, adjusted, alpha, min_effect, alternative),
                reason=found.reason,
            )
        )
    return verdicts


_SIDES: dict[Sided, str] = {"two-sided": "two-sided", "worse": "one-sided (worse)"}


def verdict_table(verdicts: Iterable[Verdict]) -> pa.Table:
    """Rows for the store's table verdicts, without run_id and unit."""
    schema = pa.schema([field for field in VERDICTS.schema if field.name not in ("run_id", "unit")])
    return pa.Table.from_pylist([verdict.as_row() for verdict in verdicts], schema=schema)


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
    pair: Pair,
    key: Key,
    left: pa.Table | None,
    right: pa.Table | None,
    n_resamples: int,
    seed: Sequence[int],
) -> Measured:
    unjudged = Measured(pair, key)
    for side, name in ((left, _title(pair)), (right, pair.baseline_name)):
        if side is None:
            return replace(unjudged, reason=f"{name} holds no items of it")
    found = paired(left, right)
    if isinstance(found, str):
        return replace(unjudged, reason=found)
    values, base = found
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
    both, worse = paired_bootstrap_both(values - base, n_resamples, seed)
    return replace(
        measured,
        interval=(both.low, both.high),
        test="paired bootstrap",
        p_values={"two-sided": both.p_value, "worse": worse.p_value},
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
