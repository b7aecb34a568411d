"""Draws detection and held-out sentences of one language: seeded, without duplicates, never overlapping."""

import hashlib
import heapq
import json
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.corpora.embedded_corpus import embedded
from polyneuron.neuron_core.corpora.sentences import split_sentences
from polyneuron.neuron_core.corpora.sources import CorpusSource, iter_texts, pin

_NO_WIDTH = "".join(
    chr(code)
    for first, last in ((0xAD, 0xAD), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x2069), (0xFEFF, 0xFEFF))
    for code in range(first, last + 1)
)
_UNSEEN = re.compile(f"[{_NO_WIDTH}]")
_NO_TEXT = re.compile("[\u2060\ufeff]")

_CHARACTERS_A_TOKEN = 32
"""A text of very many tokens shows that it has enough of them in its beginning."""

Tokenizer = Callable[[str], list[int]]
ReasonAgainst = Callable[[str], str | None]
"""Why a sentence is left out; None where it is not."""

EMPTY = "empty"
NOT_TEXT = "not valid Unicode"
DUPLICATE = "exact duplicate"
TOO_SHORT = "fewer than {} tokens"
NOT_DRAWN = "not drawn"


def collapsed(text: str) -> str:
    """NFC text with every run of white space as one space: the form in which a study keeps its sentences.

    Byte order marks and word joiners go; other characters without a width stay inside a text, where scripts need them, and
    go where they stand alone: at its ends, or as the whole of it.
    """
    spaced = " ".join(_NO_TEXT.sub("", unicodedata.normalize("NFC", text)).split())
    return spaced.strip(f"{_NO_WIDTH} ")


def _seen(text: str) -> str:
    """What a reader sees of a collapsed text: without the characters that have no width."""
    return _UNSEEN.sub("", text)


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusSample:
    """Sentences of one language, and what became of the rest."""

    language: str
    """The code of the language."""
    detection: tuple[str, ...]
    """Sentences to detect neurons with."""
    heldout: tuple[str, ...]
    """Other sentences, to judge with."""
    n_read: int
    """Sentences read, an empty text counting as one: those drawn and those dropped."""
    dropped: dict[str, int]
    """Sentences left out, by reason."""
    sha: str
    """SHA-256 of language, detection and held-out sentences, in their order."""
    source: str
    """The source in words, without its revision."""
    revision: str | None
    """The commit that was read, of a hub dataset."""


def sample_corpus(
    source: CorpusSource,
    language: str,
    n_detection: int,
    n_heldout: int,
    *,
    seed: int,
    tokenizer: Tokenizer | None = None,
    min_tokens: int = 3,
    max_documents: int = 100_000,
    others: Sequence[str] = (),
) -> CorpusSample:
    """Draws `n_detection` + `n_heldout` sentences with equal chances, the same for the same seed and source.

    The embedded corpus is drawn by row: the same rows serve every language, so a row that is a duplicate or
    too short in one language is left out in all. Other sources are normalised (NFC, white space), split where they are
    running text, and drawn from at most `max_documents` texts.

    Args:
        tokenizer: text -> token ids without special tokens; without it `min_tokens` does not apply.
        others: the other languages in use, which take the files of a folder that are named for them.

    Raises:
        CorpusError: the source cannot be read, or has too few sentences (with the counts by reason).
    """
    too_short = TOO_SHORT.format(min_tokens)

    def reason_against(text: str) -> str | None:
        if tokenizer is None:
            return None
        start = text[: _CHARACTERS_A_TOKEN * min_tokens]
        n_tokens = len(tokenizer(start))
        if n_tokens <= min_tokens and len(start) < len(text):
            n_tokens = len(tokenizer(text))
        return None if n_tokens >= min_tokens else too_short

    wanted = n_detection + n_heldout
    pinned = pin(source, language)
    if source.kind == "embedded":
        drawn, dropped = _draw_rows(language, wanted, seed, reason_against)
    else:
        sentences = _sentences(pinned, language, max_documents, others)
        drawn, dropped = _draw_sentences(sentences, wanted, seed, reason_against)
    where = source.for_language(language).describe()
    if len(drawn) < wanted:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items())) or "none"
        raise CorpusError(
            f"Too few sentences in {language!r}: {n_detection} for detection and {n_heldout} held out make {wanted}, but "
            f"{where} gave {len(drawn)} (dropped: {reasons}). Ask for fewer with corpus.n_detection and corpus.n_heldout, "
            "allow shorter ones with corpus.min_tokens, read more with corpus.max_documents, or name a larger corpus."
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


def _draw_rows(
    language: str, wanted: int, seed: int, reason_against: ReasonAgainst
) -> tuple[list[str], Counter[str]]:
    next(iter_texts(CorpusSource(kind="embedded"), language))  # refuses a language that is not there
    texts = {code: [collapsed(row) for row in rows] for code, rows in embedded().items()}
    dropped: Counter[str] = Counter()
    seen: dict[str, set[str]] = {code: set() for code in texts}
    kept: list[int] = []
    for row in range(len(texts[language])):
        row_texts = {code: of_code[row] for code, of_code in texts.items()}
        if not all(row_texts.values()):
            dropped[EMPTY] += 1
        elif any(text in seen[code] for code, text in row_texts.items()):
            dropped[DUPLICATE] += 1
        elif reason := next(filter(None, map(reason_against, row_texts.values())), None):
            dropped[reason] += 1
        else:
            kept.append(row)
            for code, text in row_texts.items():
                seen[code].add(text)
    random.Random(seed).shuffle(kept)
    if len(kept) > wanted:
        dropped[NOT_DRAWN] = len(kept) - wanted
    return [texts[language][row] for row in kept[:wanted]], dropped


def _sentences(
    source: CorpusSource, language: str, max_documents: int, others: Sequence[str]
) -> Iterator[str]:
    for document in islice(iter_texts(source, language, others), max_documents):
        yield from (split_sentences(document, language) if source.running_text else [document]) or [""]


def _draw_sentences(
    sentences: Iterator[str], wanted: int, seed: int, reason_against: ReasonAgainst
) -> tuple[list[str], Counter[str]]:
    # A reservoir by keys: every distinct sentence has a seeded random key, and the `wanted` smallest keys win.
    # The lengths of sentences that cannot win are never asked for, which saves nearly all tokenizer calls.
    dropped: Counter[str] = Counter()
    seen: set[bytes] = set()
    reservoir: list[tuple[int, str]] = []
    salt = hashlib.sha256(str(seed).encode()).digest()
    for sentence in sentences:
        try:
            text = collapsed(sentence)
            digest = hashlib.blake2b(_seen(text).encode(), digest_size=16, key=salt).digest()
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
        elif reason := reason_against(text):
            dropped[reason] += 1
        elif len(reservoir) < wanted:
            heapq.heappush(reservoir, (key, text))
        else:
            heapq.heapreplace(reservoir, (key, text))
            dropped[NOT_DRAWN] += 1
    return [text for _, text in sorted(reservoir, reverse=True)], dropped
