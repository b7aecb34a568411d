"""Windows of equal token length, equally many of every language: impacts grow with a sentence's tokens, and their minimum falls
with the number of sentences, so that nothing else lets sizes of sets be compared between languages."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.passes.batches import Sentence, as_sentences


def equal_windows(
    tokenizer: Any, corpora: Mapping[str, Sequence[Any]], n_tokens: int, n_windows: int | None = None
) -> dict[str, list[Sentence]]:
    """The tokens of each language's sentences, end to end, in windows of exactly `n_tokens` tokens, for `measure_impacts`.

    `corpora` maps a language to whole sentences: strings, or lists of token ids, which need no tokenizer. A BOS that the
    tokenizer puts before a sentence is not scored; it begins every window and counts among its tokens. Every language gives as
    many windows as the one with the fewest tokens can, at most `n_windows`, evenly spaced over its text, so that a language
    that needs more tokens for the same text is still read throughout.

    Raises:
        CorpusError: a language has too few tokens for a window, or no sentence.
        ValueError: `n_tokens` leaves no room for two tokens, or strings without a tokenizer.
    """
    sentences = {language: as_sentences(tokenizer, language, items) for language, items in corpora.items()}
    heads = {language: _head(language, read) for language, read in sentences.items()}
    available = {}
    for language, read in sentences.items():
        room = n_tokens - len(heads[language])
        if room < 2 - bool(heads[language]):
            raise ValueError(f"A window of {n_tokens} tokens has no room for two; ask for longer ones")
        available[language] = sum(sentence.n_scored for sentence in read) // room
    if not available:
        return {}
    shortest = min(available, key=available.__getitem__)
    n_each = available[shortest] if n_windows is None else min(n_windows, available[shortest])
    if n_each < 1:
        n_given = sum(sentence.n_scored for sentence in sentences[shortest])
        raise CorpusError(
            f"The {len(sentences[shortest])} sentences of {shortest} have {n_given} tokens together, too few for a window of "
            f"{n_tokens}. Give more sentences (corpus.n_detection), shorter windows (corpus.max_tokens), or measure sentences as "
            "they are (corpus.detect_in: sentences)"
        )
    return {
        language: _cut(language, read, heads[language], n_tokens - len(heads[language]), n_each)
        for language, read in sentences.items()
    }


def _head(language: str, sentences: Sequence[Sentence]) -> tuple[int, ...]:
    """What begins every sentence and is not scored."""
    heads = {sentence.token_ids[: sentence.n_unscored] for sentence in sentences}
    if len(heads) > 1:
        raise CorpusError(
            f"Some sentences of {language} begin with a BOS and others do not; tokenize them all in one way"
        )
    return heads.pop() if heads else ()


def _cut(
    language: str, sentences: Sequence[Sentence], head: tuple[int, ...], room: int, n_windows: int
) -> list[Sentence]:
    tokens = tuple(chain.from_iterable(sentence.token_ids[sentence.n_unscored :] for sentence in sentences))
    starts = [place * (len(tokens) // room) // n_windows * room for place in range(n_windows)]
    return [
        Sentence(language, index, head + tokens[start : start + room], len(head))
        for index, start in enumerate(starts)
    ]
