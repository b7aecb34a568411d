"""What a paired comparison is found to say: one row of the store's table `verdicts`. Imports nothing heavy."""

from dataclasses import dataclass

BETTER, WORSE, NO_EVIDENCE, NOT_JUDGED = "better", "worse", "no evidence", "not judged"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One paired comparison over the same items; its fields are the columns of the table `verdicts`."""

    model: str
    """The model's name in the study."""
    night: str | None
    """Label of the night that is judged; None in a study."""
    benchmark: str
    """The benchmark's short name, such as xnli."""
    language: str
    """The language it was asked in."""
    metric: str
    """What was measured of each item, higher being better."""
    filter: str
    """How the answer was taken out of the text, or "none"."""
    variant: str
    """What is judged."""
    baseline: str
    """What it is judged against: another variant in a study, another night's label in a nightly run."""
    n_pairs: int = 0
    """Items scored on both sides."""
    value: float | None = None
    """The variant's mean over these items, a fraction of 1."""
    baseline_value: float | None = None
    """The baseline's mean over these items."""
    delta: float | None = None
    """value - baseline_value."""
    low: float | None = None
    """Lower end of the 95% interval of delta."""
    high: float | None = None
    """Upper end of the 95% interval of delta."""
    test: str | None = None
    """The test and its alternative, in words; None where there was no test."""
    p_value: float | None = None
    """Of the test."""
    p_adjusted: float | None = None
    """The p-value, adjusted by Holm's method over the family."""
    n_family: int | None = None
    """How many comparisons the family has; None where there was no test."""
    alpha: float
    """The largest adjusted p-value that counts."""
    min_effect: float
    """The smallest absolute delta that counts."""
    verdict: str = NOT_JUDGED
    """One of "better", "worse", "no evidence" and "not judged"."""
    reason: str | None = None
    """Why it was not judged, or which items were left out."""

    @property
    def has_too_few_items(self) -> bool:
        """Whether everything was there to judge, but for enough items."""
        return self.verdict == NOT_JUDGED and self.delta is not None
