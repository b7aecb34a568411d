"""A night that is compared with nothing: what it scored, and whether later nights may be compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from polyneuron.eval.nightly.baseline import read_night
from polyneuron.eval.nightly.judge import Outcome
from polyneuron.eval.store.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """What one variant scored on one benchmark in one language, by its primary metric."""

    variant: str
    """The base model or an edit of it."""
    benchmark: str
    """The benchmark's short name."""
    language: str
    """The language it was asked in."""
    metric: str
    """What was measured of each item."""
    filter: str
    """How the answer was taken out of the text, or "none"."""
    n: int
    """Items scored."""
    n_unscored: int
    """Items that were not scored."""
    value: float | None
    """The mean, a fraction of 1; None where no item was scored."""
    low: float | None
    """Lower end of the 95% interval."""
    high: float | None
    """Upper end of the 95% interval."""
    reason: str | None
    """Why there is no value."""

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
    rows = read_night(store, model, night, variants).scores.values()
    names = [field.name for field in fields(Score) if field.name != "reason"]
    scores = [
        Score(**{name: row[name] for name in names}, reason=row["null_reason"])
        for row in rows
        if row["primary"]
    ]
    scores.sort(key=lambda s: (variants.index(s.variant), s.benchmark, s.language, s.metric, s.filter))
    return FirstNight(model, night, tuple(scores))
