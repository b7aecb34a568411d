"""Sentences as token ids, and their deterministic grouping into micro-batches.

The grouping depends on the sentences alone, never on the number of workers: every micro-batch is then the
same sequence of floating-point operations wherever it runs.
Shapes: B sentences of a micro-batch, T tokens of its longest sentence.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from polyneuron.neuron_core.common.errors import CorpusError

_CHARACTERS_A_TOKEN, _TOKENS_BEYOND = 32, 16
"""How much of a long text is given to the tokenizer for its first tokens, and how many more must come for it to be enough."""


@dataclass(frozen=True)
class Sentence:
    """Token ids of one sentence. The first `n_unscored` (BOS) count neither in impacts nor in perplexity."""

    language: str
    index: int
    token_ids: tuple[int, ...]
    n_unscored: int = 0

    @property
    def n_scored(self) -> int:
        """Tokens whose change of output counts in an impact."""
        return len(self.token_ids) - self.n_unscored


@dataclass(frozen=True)
class MicroBatch:
    """Right-padded sentences of similar length."""

    sentences: tuple[Sentence, ...]

    @cached_property
    def n_tokens(self) -> int:
        """T, the length of the longest sentence."""
        return max(len(sentence.token_ids) for sentence in self.sentences)

    @cached_property
    def input_ids(self) -> Tensor:
        """int64 [B, T]; padding repeats each sentence's last token, which no real token attends to."""
        rows = [s.token_ids + (s.token_ids[-1],) * (self.n_tokens - len(s.token_ids)) for s in self.sentences]
        return torch.tensor(rows, dtype=torch.int64)

    @cached_property
    def attention_mask(self) -> Tensor:
        """int64 [B, T], 1 on real tokens."""
        lengths = torch.tensor([len(sentence.token_ids) for sentence in self.sentences])
        return (torch.arange(self.n_tokens)[None, :] < lengths[:, None]).long()

    @cached_property
    def scored(self) -> Tensor:
        """bool [B, T], true on the tokens that count in an impact: neither padding nor BOS."""
        unscored = torch.tensor([sentence.n_unscored for sentence in self.sentences])
        return self.attention_mask.bool() & (torch.arange(self.n_tokens)[None, :] >= unscored[:, None])


def require_rows(token_ids: Tensor, n_rows: int) -> None:
    """Raises CorpusError when one of the tokens, of any shape, has no row in an embedding of `n_rows`: a tokenizer may know
    special tokens that its model does not (Gemma 3's of images), and may be another model's."""
    if token_ids.numel() and not 0 <= int(token_ids.min()) <= int(token_ids.max()) < n_rows:
        strange = token_ids[(token_ids < 0) | (token_ids >= n_rows)]
        raise CorpusError(
            f"A sentence holds the token id {int(strange[0])}, but the model's embedding has {n_rows} rows. Use the model's own "
            "tokenizer, and take special tokens that the model does not know out of the text"
        )


def tokenize(
    tokenizer: Any,
    language: str,
    texts: Iterable[str],
    max_tokens: int | None = None,
    add_bos: bool | None = None,
) -> list[Sentence]:
    """Turns texts into sentences, truncated to `max_tokens`. `add_bos` None follows the tokenizer's own habit; True asks
    for exactly one leading BOS, False for none. Raises ValueError when BOS is asked of a tokenizer that has none."""
    bos = tokenizer.bos_token_id
    if add_bos and bos is None:
        raise ValueError(f"{tokenizer.name_or_path} has no BOS token: leave add_bos unset or set it to false")
    sentences = []
    for index, text in enumerate(texts):
        ids = _first_tokens(tokenizer, text, max_tokens, special=add_bos is None)
        if add_bos:
            ids = [bos, *ids]
        starts_with_bos = bos is not None and bool(ids) and ids[0] == bos
        sentences.append(Sentence(language, index, tuple(ids[:max_tokens]), int(starts_with_bos)))
    return sentences


def _first_tokens(tokenizer: Any, text: str, n: int | None, *, special: bool) -> list[int]:
    """At least the first `n` token ids of a text, read from its beginning only where it is much longer than that."""
    n_characters = len(text) if n is None else _CHARACTERS_A_TOKEN * (n + _TOKENS_BEYOND)
    while n_characters < len(text):
        # Tokens do not reach across a space, so the beginning up to one has the tokens that it has in the whole.
        start = text[:n_characters]
        ids = list(tokenizer(start[: start.rfind(" ") + 1] or start, add_special_tokens=special)["input_ids"])
        if n is None or len(ids) >= n + _TOKENS_BEYOND:
            return ids
        n_characters *= 2
    return list(tokenizer(text, add_special_tokens=special)["input_ids"])


def as_sentences(
    tokenizer: Any, language: str, items: Sequence[Any], max_tokens: int | None = None
) -> list[Sentence]:
    """Sentences from strings, or from lists of token ids, which are used as they are and count whole; `Sentence`s stay."""
    if items and all(isinstance(item, Sentence) for item in items):
        return list(items)
    if all(isinstance(item, str) for item in items):
        if tokenizer is None:
            raise ValueError(
                "Sentences given as strings need a tokenizer; pass one, or pass lists of token ids"
            )
        return tokenize(tokenizer, language, items, max_tokens)
    return [Sentence(language, i, tuple(int(t) for t in item)[:max_tokens]) for i, item in enumerate(items)]


def as_corpora(
    tokenizer: Any, corpora: Mapping[str, Sequence[Any]], max_tokens: int | None = None
) -> dict[str, list[Sentence]]:
    """The sentences of each language, as `as_sentences`. Raises CorpusError when there is no language, or one has no sentence."""
    if not corpora:
        raise CorpusError("There is no language; give the sentences of at least one")
    for language, items in corpora.items():
        if not items:
            raise CorpusError(f"The corpus of {language!r} is empty; give it at least one sentence")
    return {
        language: as_sentences(tokenizer, language, items, max_tokens) for language, items in corpora.items()
    }


def micro_batches(
    sentences: Sequence[Sentence], max_sentences: int, max_tokens: int = 8192
) -> list[MicroBatch]:
    """Groups sentences, shortest first, at most `max_sentences` and `max_tokens` padded tokens together."""
    batches: list[MicroBatch] = []
    group: list[Sentence] = []
    for sentence in sorted(sentences, key=lambda s: (len(s.token_ids), s.language, s.index)):
        if group and (len(group) == max_sentences or (len(group) + 1) * len(sentence.token_ids) > max_tokens):
            batches.append(MicroBatch(tuple(group)))
            group = []
        group.append(sentence)
    return [*batches, MicroBatch(tuple(group))] if group else batches
