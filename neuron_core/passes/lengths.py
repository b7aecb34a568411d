"""Whether languages are read alike. Impacts grow with a sentence's tokens, and the smallest of many sentences' impacts is lower
than that of few: a language with longer or fewer sentences has larger sets."""

import warnings
from collections.abc import Mapping, Sequence

from polyneuron.neuron_core.passes.batches import Sentence

EQUAL_WITHIN = 1.1
"""The largest over the smallest number up to which numbers count as equal."""


class UnequalReadingWarning(UserWarning):
    """Sets of some languages are larger because their sentences are longer, or fewer."""


def unequal(numbers: Mapping[str, float]) -> tuple[str, str] | None:
    """The languages with the smallest and the largest number, where the difference matters."""
    if len(numbers) < 2:
        return None
    least, most = min(numbers, key=numbers.__getitem__), max(numbers, key=numbers.__getitem__)
    return (least, most) if numbers[most] > EQUAL_WITHIN * numbers[least] else None


def unequal_reading(sentences: Mapping[str, Sequence[Sentence]]) -> str | None:
    """What makes set sizes incomparable between languages, with every language's numbers; None where they are read alike."""
    read = {language: own for language, own in sentences.items() if own}
    tokens = {language: sum(s.n_scored for s in own) / len(own) for language, own in read.items()}
    counts = {language: len(own) for language, own in read.items()}
    doubts = []
    if ends := unequal(tokens):
        listed = ", ".join(f"{language} {mean:.1f}" for language, mean in tokens.items())
        doubts.append(f"sentences are longer in {ends[1]} than in {ends[0]} (mean tokens: {listed})")
    if ends := unequal(counts):
        listed = ", ".join(f"{language} {n}" for language, n in counts.items())
        doubts.append(f"{ends[0]} has fewer sentences than {ends[1]} ({listed})")
    if not doubts:
        return None
    return f"{'; '.join(doubts)}. Longer and fewer sentences both make sets larger, so their sizes are not comparable"


def warn_of_unequal_reading(sentences: Mapping[str, Sequence[Sentence]], stacklevel: int) -> None:
    """An `UnequalReadingWarning` where languages are not read alike. `stacklevel`: as `warnings.warn` would have it where this
    is called."""
    if doubt := unequal_reading(sentences):
        warnings.warn(
            f"In these corpora, {doubt}. Give windows of equal length, as `equal_windows` makes them",
            UnequalReadingWarning,
            stacklevel=stacklevel + 1,
        )
