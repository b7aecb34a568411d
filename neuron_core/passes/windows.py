"""Windows of equal token length, equally many of every language: impacts grow with a sentence's tokens, and their minimum falls
with the number of sentences, so that nothing else lets sizes of sets be compared between languages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.passes.batches import Sentence, as_corpora


def equal_windows(
    tokenizer: Any, corpora: Mapping[str, Sequence[Any]], n_tokens: int, n_windows: int | None = None
) -> dict[str, list[Sentence]]:
    """The tokens of each language's sentences, end to end, in windows of exactly `n_tokens` tokens, for `measure_impacts`.

    `corpora` maps a language to whole sentences: strings, or lists of token ids, which need no tokenizer. A BOS that the
    tokenizer puts before a sentence is not scored; it begins every window and counts among its tokens. Every language gives as
    many windows as the one with the fewest tokens can, at most `n_windows`, evenly spaced over its text, so that a language
    that needs more tokens for the same text is still read throughout.

    Raises:
        CorpusError: there is no language, or one has no sentence, too few tokens for a window, or a BOS at the beginning of
            some sentences and not of others.
        ValueError: `n_tokens` leaves no room for two tokens, `n_windows` is below 1, or strings without a tokenizer.
    """
    if n_windows is not None and n_windows < 1:
        raise ValueError(
            f"{n_windows} windows were asked for; ask for at least one, or for as many as there are"
        )
    texts = [_Text.of(language, read) for language, read in as_corpora(tokenizer, corpora).items()]
    shortest = min(texts, key=lambda text: text.n_whole(n_tokens))
    n_each = shortest.n_whole(n_tokens)
    if n_each < 1:
        raise CorpusError(
            f"The text of {shortest.language} has {len(shortest.tokens)} tokens, too few for a window of {n_tokens}. Give more "
            "sentences (corpus.n_detection), shorter windows (corpus.max_tokens), or measure sentences as they are "
            "(corpus.detect_in: sentences)"
        )
    n_each = n_each if n_windows is None else min(n_windows, n_each)
    return {text.language: text.cut(n_tokens, n_each) for text in texts}


@dataclass(frozen=True)
class _Text:
    """One language's sentences end to end."""

    language: str
    head: tuple[int, ...]
    """What begins every sentence and is not scored."""
    tokens: tuple[int, ...]
    """All that follows."""

    @staticmethod
    def of(language: str, sentences: Sequence[Sentence]) -> "_Text":
        heads = {sentence.token_ids[: sentence.n_unscored] for sentence in sentences}
        if len(heads) > 1:
            raise CorpusError(
                f"Some sentences of {language} begin with a BOS and others do not; tokenize them all in one way"
            )
        parts = (sentence.token_ids[sentence.n_unscored :] for sentence in sentences)
        return _Text(language, heads.pop(), tuple(chain.from_iterable(parts)))

    def n_whole(self, n_tokens: int) -> int:
        """How many windows the text fills."""
        if n_tokens < 2 or n_tokens <= len(self.head):
            raise ValueError(f"A window of {n_tokens} tokens has no room for two; ask for longer ones")
        return len(self.tokens) // (n_tokens - len(self.head))

    def cut(self, n_tokens: int, n_windows: int) -> list[Sentence]:
        """Windows that begin at whole multiples of their length, evenly spaced."""
        room, n_whole, n_unscored = n_tokens - len(self.head), self.n_whole(n_tokens), len(self.head)
        starts = (room * (place * n_whole // n_windows) for place in range(n_windows))
        bodies = (self.tokens[start : start + room] for start in starts)
        return [Sentence(self.language, i, self.head + body, n_unscored) for i, body in enumerate(bodies)]
