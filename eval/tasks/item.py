"""What lm-eval finds for one item: a row of the store's table `samples`. Imports nothing heavy."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One item under one metric and answer filter; its fields are columns of the table `samples`."""

    task: str
    """lm-eval's name of the task."""
    item: int
    """The item's number in the task's split."""
    metric: str
    """What was measured, higher being better."""
    filter: str
    """How the answer was taken out of the text, or "none"."""
    value: float | None
    """The item's score; None: not scored, because the prompt did not fit whole."""
    target: str
    """The right answer."""
    response: str | None
    """The generated text, or the log-likelihood of each choice as JSON."""
    doc_hash: str
    """lm-eval's hash of the item."""
    prompt_hash: str
    """Hash of the prompt's text."""
    tokens_hash: str
    """Hash of the prompt's token ids, BOS included."""
