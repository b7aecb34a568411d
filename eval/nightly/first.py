"""A night that is compared with nothing: what it scored, and whether later nights may be compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polyneuron.eval.nightly.baseline import read_night
from polyneuron.eval.nightly.judge import Outcome
from polyneuron.eval.store.store import Store


@dataclass(frozen=True)
class Score:
    """A primary score. value, low, high: fractions of 1, None where no item was scored; reason: why there is none."""

    variant: str
    benchmark: str
    language: str
    metric: str
    filter: str
    n: int
    n_unscored: int
    value: float | None
    low: float | None
    high: float | None
    reason: str | None

    @property
    def complete(self) -> bool:
        """Whether every item was scored."""
        return self.value is not None and not self.n_unscored


@dataclass(frozen=True)
class FirstNight:
    """The scores of one model on a night without a baseline."""

    model: str
    night: str
    scores: tuple[Score, ...]

    @property
    def outcome(self) -> Outcome:
        """OK when there are scores and every item was scored, so that nothing is missing from the baseline it may
        become; else NOT_JUDGED."""
        complete = bool(self.scores) and all(score.complete for score in self.scores)
        return Outcome.OK if complete else Outcome.NOT_JUDGED


def first_night(store: Store, model: str, night: str, variants: Sequence[str]) -> FirstNight:
    """The primary scores of the night `night`, in the order of `variants`; a benchmark that has no task in a language
    has none. Raises StoreError: see `Store.read`."""
    scores = read_night(store, model, night, variants).scores
    found = [
        Score(
            variant,
            *key,
            n=row["n"],
            n_unscored=row["n_unscored"],
            value=row["value"],
            low=row["low"],
            high=row["high"],
            reason=row["null_reason"],
        )
        for (variant, key), row in scores.items()
        if row["primary"]
    ]
    found.sort(key=lambda s: (variants.index(s.variant), s.benchmark, s.language, s.metric, s.filter))
    return FirstNight(model, night, tuple(found))
