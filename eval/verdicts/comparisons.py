"""Paired comparisons of per-item benchmark results: of two variants, or of two nights of one variant.

Rows of the table `samples` in, rows of the table `verdicts` out. All metrics are taken to be better when higher.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import xxhash

from polyneuron.eval.store.schemas import VERDICTS
from polyneuron.eval.verdicts.pairing import Items, Key, paired
from polyneuron.eval.verdicts.statistics import (
    Alternative,
    draws_for,
    fit_to_judge,
    holm,
    mcnemar_exact,
    paired_mean_interval,
    paired_share_interval,
    sign_flip,
    smallest_p,
)
from polyneuron.eval.verdicts.verdict import BETTER, NO_EVIDENCE, WORSE, Verdict

Sided = Literal["two-sided", "worse"]
"""What is tested: any difference, or only a loss. A test for a loss never finds anything better."""

METHOD = "McNemar or sign-flip; Holm over comparisons with items enough"
"""What decides a verdict beside the scores, for the keys of stored verdicts."""
RIGHT_OR_WRONG = frozenset({"acc", "acc_norm", "exact_match"})
"""Metrics that give every item 0 or 1; all others may give it fractions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """The items of two sides of one model, and their names."""

    samples: Items
    """Of what is judged: rows of the table `samples`, as `grouped` gives them."""
    baseline: Items
    """Of what it is judged against."""
    model: str
    """The model's name in the study."""
    night: str | None
    """Label of the night that is judged; None in a study."""
    variant: str
    """What is judged."""
    baseline_name: str
    """The other variant, or the other night's label."""

    def unjudged(self, key: Key, *, alpha: float, min_effect: float, reason: str | None = None) -> Verdict:
        """The verdict under one benchmark, language, metric and filter, before anything was tested."""
        benchmark, language, metric, answer_filter = key
        return Verdict(
            model=self.model,
            night=self.night,
            benchmark=benchmark,
            language=language,
            metric=metric,
            filter=answer_filter,
            variant=self.variant,
            baseline=self.baseline_name,
            alpha=alpha,
            min_effect=min_effect,
            reason=reason,
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """A verdict that is not judged yet, and the p-values by what is tested; None where there is no test."""

    verdict: Verdict
    p_values: Mapping[Sided, float] | None = None


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
    return decide(measure(chosen, alpha=alpha, min_effect=min_effect, seed=seed), "two-sided")


def measure(
    chosen: Sequence[tuple[Pair, Collection[Key]]], *, alpha: float, min_effect: float, seed: int = 0
) -> list[Measured]:
    """Pairs the items and tests each key of each pair, two-sided and for a loss. One result per pair and key.

    Right-or-wrong metrics are tested by McNemar's exact test, others by flipping signs, with draws that grow with the family.
    """
    family = sum(len(keys) for _, keys in chosen)
    n_draws = draws_for(family, alpha)
    measured = []
    for pair, keys in chosen:
        for key in sorted(keys):
            digest = xxhash.xxh3_64_intdigest("\0".join((pair.variant, *key)).encode())
            unjudged = pair.unjudged(key, alpha=alpha, min_effect=min_effect)
            measured.append(
                _tested(unjudged, pair.samples.get(key), pair.baseline.get(key), n_draws, [seed, digest])
            )
    return measured


def decide(measured: Sequence[Measured], alternative: Sided) -> list[Verdict]:
    """Verdicts of `measured`. The family is all of them that have items enough to be judged (`fit_to_judge`); p-values are
    adjusted over it (Holm).

    "worse" or "better": p_adjusted <= alpha and the difference in that direction is at least `min_effect`
    (a fraction of 1 for benchmarks) and not 0. "no evidence": tested, and not so. "not judged": no test, or too few items.
    """
    tested = [(at, each) for at, each in enumerate(measured) if each.p_values is not None]
    if not tested:
        return [each.verdict for each in measured]
    alpha, tails = tested[0][1].verdict.alpha, _TAILS[alternative]
    fit = fit_to_judge([each.verdict.n_pairs for _, each in tested], alpha, tails)
    p_values: list[float | None] = [None] * len(measured)
    few = dict[int, str]()
    for (at, each), is_fit in zip(tested, fit, strict=True):
        if is_fit and each.p_values is not None:
            p_values[at] = each.p_values[alternative]
        else:
            few[at] = _too_few(each.verdict.n_pairs, alpha, tails)
    return [
        replace(each.verdict, reason=_joined(few.get(at), each.verdict.reason))
        if p is None or adjusted is None
        else _decided(replace(each.verdict, n_family=sum(fit)), p, adjusted, alternative)
        for at, (each, p, adjusted) in enumerate(zip(measured, p_values, holm(p_values), strict=True))
    ]


def _too_few(n: int, alpha: float, tails: Alternative) -> str:
    return (
        f"too few items: {n} cannot give a p-value below {smallest_p(n, tails):.2g}, "
        f"and the level is {alpha:g} over all comparisons that are judged together"
    )


def _joined(*reasons: str | None) -> str | None:
    return "; ".join(reason for reason in reasons if reason) or None


def _decided(unjudged: Verdict, p_value: float, adjusted: float, alternative: Sided) -> Verdict:
    delta, word = unjudged.delta, NO_EVIDENCE
    assert delta is not None
    if adjusted <= unjudged.alpha and delta != 0 and abs(delta) >= unjudged.min_effect:
        word = WORSE if delta < 0 else BETTER if alternative == "two-sided" else NO_EVIDENCE
    test = f"{unjudged.test}, {_SIDES[alternative]}"
    return replace(unjudged, test=test, p_value=p_value, p_adjusted=adjusted, verdict=word)


_SIDES: dict[Sided, str] = {"two-sided": "two-sided", "worse": "one-sided (worse)"}
_TAILS: dict[Sided, Alternative] = {"two-sided": "two-sided", "worse": "less"}


def verdict_table(verdicts: Iterable[Verdict]) -> pa.Table:
    """Rows for the store's table verdicts, without run_id and unit."""
    return VERDICTS.table([asdict(verdict) for verdict in verdicts])


def _tested(
    unjudged: Verdict,
    left: pa.Table | None,
    right: pa.Table | None,
    n_draws: int,
    seed: Sequence[int],
) -> Measured:
    """`unjudged` with its means and p-values, or the reason why it has none."""
    night = "" if unjudged.night is None else f" of night {unjudged.night}"
    for side, name in ((left, unjudged.variant + night), (right, unjudged.baseline)):
        if side is None:
            return Measured(replace(unjudged, reason=f"{name} holds no items of it"))
    matched = paired(left, right)
    if isinstance(matched, str):
        return Measured(replace(unjudged, reason=matched))
    values, base = matched
    known = ~(np.isnan(values) | np.isnan(base))
    n, n_dropped, values, base = int(known.sum()), int((~known).sum()), values[known], base[known]
    if not n:
        reason = f"none of {n_dropped} items is scored on both sides"
        return Measured(replace(unjudged, reason=reason))
    p_values: dict[Sided, float]
    differences = values - base
    if unjudged.metric in RIGHT_OR_WRONG:
        if other := int((~(np.isin(values, (0, 1)) & np.isin(base, (0, 1)))).sum()):
            return Measured(
                replace(unjudged, reason=f"{unjudged.metric} is 0 or 1, but not for {other} items")
            )
        test, only, only_base = "McNemar's exact test", int((values > base).sum()), int((base > values).sum())
        low, high = paired_share_interval(only, only_base, n)
        worse = mcnemar_exact(only, only_base, "less")
        p_values = {"two-sided": mcnemar_exact(only, only_base), "worse": worse}
    else:
        test, found = "sign-flip test", sign_flip(differences, n_draws, seed)
        low, high = paired_mean_interval(differences)
        p_values = {name: found[tails] for name, tails in _TAILS.items()}
    measured = replace(
        unjudged,
        n_pairs=n,
        value=float(values.mean()),
        baseline_value=float(base.mean()),
        delta=float(differences.mean()),
        low=low,
        high=high,
        test=test,
        reason=f"{n_dropped} of {len(known)} items left out: not scored on both sides" if n_dropped else None,
    )
    return Measured(measured, p_values)


def _keys(pair: Pair, primary: Collection[tuple[str, str, str]]) -> set[Key]:
    return {
        key for items in (pair.samples, pair.baseline) for key in items if (key[0], key[2], key[3]) in primary
    }
