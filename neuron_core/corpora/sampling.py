"""Draws detection and held-out sentences of one language: seeded, without duplicates, never overlapping."""

from __future__ import annotations

import hashlib
import heapq
import json
import random
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.corpora.embedded_corpus import embedded, embedded_languages, embedded_rows
from polyneuron.neuron_core.corpora.sentences import split_sentences
from polyneuron.neuron_core.corpora.sources import CorpusSource, iter_texts, pin

Tokenizer = Callable[[str], list[int]]

EMPTY = "empty"
NOT_TEXT = "not valid Unicode"
DUPLICATE = "exact duplicate"
TOO_SHORT = "fewer than {} tokens"
TOO_LONG = "more than {} tokens"
FEW_CHARACTERS = "fewer than {} characters"
MANY_CHARACTERS = "more than {} characters"
NOT_DRAWN = "not drawn"


@dataclass(frozen=True)
class CorpusSample:
    """Sentences of one language, and what became of the rest.

    `n_read` counts sentences (an empty text counts as one); it is len(detection) + len(heldout) +
    sum(dropped.values()). `sha` is the SHA-256 of language, detection and held-out sentences, in their order.
    """

    language: str
    detection: tuple[str, ...]
    heldout: tuple[str, ...]
    n_read: int
    dropped: dict[str, int]
    sha: str
    source: str
    revision: str | None


@dataclass(frozen=True)
class _Limits:
    tokenizer: Tokenizer | None
    min_tokens: int
    max_tokens: int | None
    min_chars: int
    max_chars: int | None

    def reason_against(self, text: str) -> str | None:
        if len(text) < self.min_chars:
            return FEW_CHARACTERS.format(self.min_chars)
        if self.max_chars is not None and len(text) > self.max_chars:
            return MANY_CHARACTERS.format(self.max_chars)
        if self.tokenizer is None:
            return None
        n_tokens = len(self.tokenizer(text))
        if n_tokens < self.min_tokens:
            return TOO_SHORT.format(self.min_tokens)
        if self.max_tokens is not None and n_tokens > self.max_tokens:
            return TOO_LONG.format(self.max_tokens)
        return None


def sample_corpus(
    source: CorpusSource,
    language: str,
    n_detection: int,
    n_heldout: int,
    seed: int,
    tokenizer: Tokenizer | None = None,
    min_tokens: int = 3,
    max_tokens: int | None = None,
    max_documents: int = 100_000,
    drop_long: bool = False,
    min_chars: int = 1,
    max_chars: int | None = None,
) -> CorpusSample:
    """Draws `n_detection` + `n_heldout` sentences with equal chances, the same for the same seed and source.

    The embedded corpus is drawn by row: the same rows serve every language, so a row that is a duplicate or
    out of the limits in one language is left out in all. Other sources are normalised (NFC, white space),
    split where they are running text, and drawn from at most `max_documents` texts.

    Args:
        tokenizer: text -> token ids without special tokens; without it no limit in tokens applies.
        max_tokens: sentences longer than this are left out if `drop_long`; else they are kept whole, to be cut
            by whoever turns them into tokens.
        min_chars, max_chars: sentences outside these are left out; counted in code points after normalising.

    Raises:
        CorpusError: the source cannot be read, or has too few sentences (with the counts by reason).
    """
    if drop_long and (max_tokens is None or tokenizer is None):
        raise CorpusError("drop_long needs max_tokens and a tokenizer: give both, or leave drop_long out.")
    limits = _Limits(tokenizer, min_tokens, max_tokens if drop_long else None, min_chars, max_chars)
    wanted = n_detection + n_heldout
    pinned = pin(source, language)
    if source.kind == "embedded":
        drawn, dropped = _draw_rows(language, wanted, seed, limits)
    else:
        drawn, dropped = _draw_sentences(pinned, language, wanted, seed, limits, max_documents)
    where = source.for_language(language).describe()
    if len(drawn) < wanted:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items())) or "none"
        raise CorpusError(
            f"Too few sentences in {language!r}: {n_detection} for detection and {n_heldout} held out make "
            f"{wanted}, but {where} gave {len(drawn)} (dropped: {reasons}). Ask for fewer with "
            "corpus.n_detection and corpus.n_heldout, allow shorter ones with corpus.min_tokens, read more "
            "with corpus.max_documents, or name a larger corpus."
        )
    detection, heldout = tuple(drawn[:n_detection]), tuple(drawn[n_detection:])
    return CorpusSample(
        language=language,
        detection=detection,
        heldout=heldout,
        n_read=len(drawn) + sum(dropped.values()),
        dropped=dict(sorted(dropped.items())),
        sha=hashlib.sha256(json.dumps([language, detection, heldout]).encode()).hexdigest(),
        source=where,
        revision=pinned.revision,
    )


def _clean(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _draw_rows(language: str, wanted: int, seed: int, limits: _Limits) -> tuple[list[str], Counter[str]]:
    next(iter_texts(CorpusSource("embedded"), language))  # refuses a language that is not there
    languages, texts = embedded_languages(), embedded()
    dropped: Counter[str] = Counter()
    seen: dict[str, set[str]] = {code: set() for code in languages}
    kept: list[int] = []
    for row in range(len(embedded_rows())):
        row_texts = {code: _clean(texts[code][row]) for code in languages}
        if reason := _reason_against_row(row_texts, seen, limits):
            dropped[reason] += 1
            continue
        kept.append(row)
        for code, text in row_texts.items():
            seen[code].add(text)
    random.Random(seed).shuffle(kept)
    if len(kept) > wanted:
        dropped[NOT_DRAWN] = len(kept) - wanted
    return [_clean(texts[language][row]) for row in kept[:wanted]], dropped


def _reason_against_row(row: dict[str, str], seen: dict[str, set[str]], limits: _Limits) -> str | None:
    if not all(row.values()):
        return EMPTY
    if any(text in seen[code] for code, text in row.items()):
        return DUPLICATE
    return next((reason for text in row.values() if (reason := limits.reason_against(text))), None)


def _draw_sentences(
    source: CorpusSource, language: str, wanted: int, seed: int, limits: _Limits, max_documents: int
) -> tuple[list[str], Counter[str]]:
    # A reservoir by keys: every distinct sentence has a seeded random key, and the `wanted` smallest keys win.
    # The lengths of sentences that cannot win are never asked for, which saves nearly all tokenizer calls.
    dropped: Counter[str] = Counter()
    seen: set[bytes] = set()
    reservoir: list[tuple[int, str]] = []
    salt = hashlib.sha256(str(seed).encode()).digest()
    for document in islice(iter_texts(source, language), max_documents):
        pieces = split_sentences(document, language) if source.running_text else [document]
        for piece in pieces or [""]:
            try:
                text = _clean(piece)
                digest = hashlib.blake2b(text.encode(), digest_size=16, key=salt).digest()
            except UnicodeEncodeError:
                dropped[NOT_TEXT] += 1
                continue
            if not text:
                dropped[EMPTY] += 1
                continue
            if digest in seen:
                dropped[DUPLICATE] += 1
                continue
            seen.add(digest)
            key = -int.from_bytes(digest)
            if len(reservoir) == wanted and (not wanted or key < reservoir[0][0]):
                dropped[NOT_DRAWN] += 1
            elif reason := limits.reason_against(text):
                dropped[reason] += 1
            elif len(reservoir) < wanted:
                heapq.heappush(reservoir, (key, text))
            else:
                heapq.heapreplace(reservoir, (key, text))
                dropped[NOT_DRAWN] += 1
    return [text for _, text in sorted(reservoir, reverse=True)], dropped
