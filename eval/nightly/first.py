"""A night that is compared with nothing: what it scored, and whether later nights may be compared with it."""

from collections.abc import Sequence
from dataclasses import dataclass

from polyneuron.eval.nightly.baseline import Row, read_night
from polyneuron.eval.nightly.judge import Outcome
from polyneuron.eval.store.store import Store


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
