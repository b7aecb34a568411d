"""Has a night become worse than a good one? The gate of a nightly run.

What is controlled. Every primary metric of every variant, benchmark and language is compared with the baseline night, item by
item, and all these comparisons together are one family. Each is tested one-sided: "has it become worse?" Right-or-wrong metrics
use McNemar's exact test, which looks only at the items that changed sides; others flip the signs of the differences.
The p-values are then adjusted by Holm's method over the family. So if nothing has changed but chance, the probability that a
night alarms at all, however many languages and benchmarks it has, is at most `alpha`: at 0.05, at most one needless alarm in
twenty such nights. No assumption is made on how the comparisons depend on each other. A drop counts only if it is also at least
`min_effect`, which can make alarms rarer, never more frequent. Not controlled: how often a real drop is missed (that depends on
the number of items; `bench/nightly_power.py` measures it), the rate over many nights (each has its own alpha), and the rate over
many models (each is a family). Both tests keep their level with any number of items; both take the items of one benchmark and
language to fall independently of each other. A comparison with so few items that no loss could ever count is not judged.
Improvements are found by a second family of two-sided tests, adjusted on its own, and never hide or cause an alarm; among
nights without change at most alpha show one. What cannot be compared (a score missing, other prompts, other items) is never
passed over: the night then ends as "could not judge", unless something else has become worse; too few items alone may be let
pass.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import pyarrow as pa

from polyneuron.eval.nightly.baseline import NightResults, Row, find_night, read_night, require_same_settings
from polyneuron.eval.store.store import Store
from polyneuron.eval.verdicts.comparisons import Measured, Pair, decide, measure, verdict_table
from polyneuron.eval.verdicts.pairing import Key, grouped
from polyneuron.eval.verdicts.verdict import BETTER, NOT_JUDGED, WORSE, Verdict
from polyneuron.neuron_core.common.errors import StoreError


class Outcome(IntEnum):
    """How a night ends, also as an exit status: only 0 needs nobody's attention."""

    OK = 0
    REGRESSION = 1
    NOT_JUDGED = 2


_OUTCOMES = {WORSE: Outcome.REGRESSION, NOT_JUDGED: Outcome.NOT_JUDGED}


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """All verdicts on one night of one model."""

    model: str
    """The model's name."""
    night: str
    """Label of the night that is judged."""
    baseline_night: str | None
    """Label of the night it is judged against; None where none was found or asked for."""
    alpha: float
    """The largest adjusted p-value that counts."""
    min_effect: float
    """The smallest loss that counts, a fraction of 1."""
    verdicts: tuple[Verdict, ...]
    """One for each variant, benchmark, language and primary metric."""
    few_items_pass: bool = False
    """Whether what has too few items to be judged is let pass, as long as something was judged."""

    @property
    def outcome(self) -> Outcome:
        """REGRESSION if anything is worse; else NOT_JUDGED if anything, or everything, was not judged; else OK."""
        counted = [v for v in self.verdicts if not (self.few_items_pass and v.has_too_few_items)]
        return worst(_OUTCOMES.get(verdict.verdict, Outcome.OK) for verdict in counted)

    def table(self) -> pa.Table:
        """Rows for the store's table verdicts, without run_id and unit."""
        return verdict_table(self.verdicts)


@dataclass(frozen=True)
class FirstNight:
    """The scores of one model on a night without a baseline: rows of the table `scores`, by their primary metric."""

    model: str
    night: str
    scores: tuple[Row, ...]

    @property
    def outcome(self) -> Outcome:
        """OK when there are scores and every item was scored, so that nothing is missing from the baseline it may
        become; else NOT_JUDGED."""
        return Outcome.OK if self.scores and all(map(complete, self.scores)) else Outcome.NOT_JUDGED


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Of several outcomes together: a regression, else NOT_JUDGED if it is among them or there are none, else OK."""
    found = set(outcomes)
    if Outcome.REGRESSION in found:
        return Outcome.REGRESSION
    return Outcome.NOT_JUDGED if Outcome.NOT_JUDGED in found or not found else Outcome.OK


def complete(score: Row) -> bool:
    """Whether every item of a row of the table `scores` was scored."""
    return score["value"] is not None and not score["n_unscored"]


def first_night(store: Store, model: str, night: str, variants: Sequence[str]) -> FirstNight:
    """The primary scores of the night `night`, in the order of `variants`; a benchmark that has no task in a language
    has none. Raises StoreError: see `Store.read`."""
    scores = [row for row in read_night(store, model, night, variants).scores.values() if row["primary"]]
    names = ("benchmark", "language", "metric", "filter")
    scores.sort(key=lambda row: (variants.index(row["variant"]), *(row[name] for name in names)))
    return FirstNight(model, night, tuple(scores))


def judge(
    store: Store,
    model: str,
    night: str,
    baseline_night: str,
    variants: Sequence[str],
    *,
    alpha: float,
    min_effect: float,
    few_items_pass: bool = False,
    seed: int = 0,
) -> Judgement:
    """Compares two nights of `model`, named by label or run id. Writes nothing.

    Raises StoreError when there is no such night, both names are of the same night, or neither has scores of a variant;
    SettingsMismatch when they were measured under different settings.
    """
    labels = [find_night(store, model, name).label for name in (night, baseline_night)]
    if labels[0] == labels[1]:
        raise StoreError(
            f"Night {labels[0]} of {model} cannot be compared with itself. Name an earlier night."
        )
    tonight, before = (read_night(store, model, label, variants) for label in labels)
    scored = {place[0] for side in (tonight, before) for place in (*side.scores, *side.unavailable)}
    for variant in variants:
        if variant not in scored:
            raise StoreError(
                f"Neither night {labels[0]} nor night {labels[1]} of {model} has scores of the variant {variant!r}."
            )
    return judge_results(
        model,
        tonight,
        before,
        variants,
        alpha=alpha,
        min_effect=min_effect,
        few_items_pass=few_items_pass,
        seed=seed,
    )


def judge_results(
    model: str,
    night: NightResults,
    baseline: NightResults,
    variants: Sequence[str],
    *,
    alpha: float,
    min_effect: float,
    few_items_pass: bool = False,
    seed: int = 0,
) -> Judgement:
    """`judge` on results in memory, raising SettingsMismatch as it does. A benchmark that has no task in a language in either
    night is left out: there is nothing to judge."""
    require_same_settings(night, baseline)
    rows = [(place, row) for side in (night, baseline) for place, row in side.scores.items()]
    primary = sorted({place for place, row in rows if row["primary"] and place[0] in variants})
    reasons = {each: [_missing(side, *each) for side in (night, baseline)] for each in primary}
    missing = {each: "; ".join(filter(None, why)) for each, why in reasons.items() if any(why)}
    pairs = {
        variant: Pair(
            samples=grouped(night.samples_of(variant)),
            baseline=grouped(baseline.samples_of(variant)),
            model=model,
            night=night.label,
            variant=variant,
            baseline_name=baseline.label,
        )
        for variant in variants
    }
    chosen = [
        (pair, [key for owner, key in primary if owner == variant and (owner, key) not in missing])
        for variant, pair in pairs.items()
    ]
    measured = measure(chosen, alpha=alpha, min_effect=min_effect, seed=seed)
    measured += [
        Measured(pairs[variant].unjudged(key, alpha=alpha, min_effect=min_effect, reason=reason))
        for (variant, key), reason in missing.items()
    ]
    return Judgement(
        model=model,
        night=night.label,
        baseline_night=baseline.label,
        alpha=alpha,
        min_effect=min_effect,
        verdicts=tuple(_gate(measured)),
        few_items_pass=few_items_pass,
    )


def _gate(measured: Sequence[Measured]) -> list[Verdict]:
    """One-sided verdicts; where the two-sided family finds an improvement, its row takes their place."""
    sides = zip(decide(measured, "worse"), decide(measured, "two-sided"), strict=True)
    chosen = [change if change.verdict == BETTER else loss for loss, change in sides]
    order = {each.verdict.variant: i for i, each in reversed(list(enumerate(measured)))}
    return sorted(chosen, key=lambda v: (order[v.variant], v.benchmark, v.language, v.metric, v.filter))


def _missing(results: NightResults, variant: str, key: Key) -> str | None:
    """Why a night has no score, or None where it has one."""
    if (variant, key) in results.scores:
        return None
    why = results.unavailable.get((variant, key[0], key[1]))
    return f"night {results.label} has no score of it" + (f" ({why})" if why else "")
