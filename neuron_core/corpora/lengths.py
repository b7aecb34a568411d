"""Whether languages are read at the same length. Impacts grow with a sentence's tokens, so sets of languages with longer ones
are larger."""

from collections.abc import Mapping

EQUAL_WITHIN = 1.1
"""The longest over the shortest mean length up to which lengths count as equal."""


def unequal_lengths(tokens: Mapping[str, float]) -> tuple[str, str] | None:
    """The languages with the shortest and the longest sentences, where the difference matters.

    tokens: mean tokens of a language's detection sentences, by language.
    """
    if len(tokens) < 2:
        return None
    shortest, longest = min(tokens, key=tokens.__getitem__), max(tokens, key=tokens.__getitem__)
    return (shortest, longest) if tokens[longest] > EQUAL_WITHIN * tokens[shortest] else None
