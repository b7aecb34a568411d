"""Whole documents of one language for continued pretraining: a seeded mixture of sources, without duplicates and
without the study's own sentences. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.corpora.presets import source_of
from polyneuron.neuron_core.corpora.sampling import DUPLICATE, EMPTY, NOT_TEXT, collapsed
from polyneuron.neuron_core.corpora.sources import CorpusSource, iter_texts

Mixture = Sequence[tuple[CorpusSource, float]]
"""Sources of one language, each with the share of the documents it gives."""

Wanted = int | Literal["all"]
"""How many documents are asked for."""

PAPER_MIXTURE: Mapping[str, float] = {"culturax": 1.0, "madlad400": 1.0, "wikipedia": 1.0}
"""Paper A, section 4: CulturaX, MADLAD-400 and Wikipedia. It gives no shares; equal ones are our reading."""

PAPER_N_DOCUMENTS = 100_000
"""Documents a language (paper A, section 4)."""

EXCLUDED = "holds a sentence of the study"

EMBEDDED_ROWS_A_DOCUMENT = 4
"""Rows of the embedded corpus that make one document."""

_BLOCKS = (12, 4)
"""Characters of the blocks by which sentences are found, the largest first."""


@dataclass
class DocumentCounts:
    """What became of the texts that were read. Embedded rows count one by one where they were left out, and as joined
    documents where they were kept."""

    kept: Counter[str] = field(default_factory=Counter)
    """Documents given, by source."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Texts left out, by reason."""

    @property
    def n_read(self) -> int:
        """How many texts were read."""
        return self.kept.total() + self.dropped.total()


def mixture_of(names: str | Mapping[str, float]) -> list[tuple[CorpusSource, float]]:
    """The mixture that a configuration names: "paper", one corpus, or corpora with their shares. A corpus is what
    `presets.source_of` knows: a preset, a file, folder or URL, or a hub dataset. Raises CorpusError for an unknown name, no
    corpus at all, or a share that is not above zero."""
    if isinstance(names, str):
        names = PAPER_MIXTURE if names == "paper" else {names: 1.0}
    mixture = [(source_of(name), float(weight)) for name, weight in names.items()]
    _check(mixture)
    return mixture


def documents(
    mixture: Mixture,
    language: str,
    n_documents: Wanted = PAPER_N_DOCUMENTS,
    *,
    seed: int = 0,
    exclude: Collection[str] = (),
    counts: DocumentCounts | None = None,
) -> Iterator[str]:
    """Documents of one language, read as they are asked for; the same ones for the same arguments and sources.

    Each document comes from a source chosen at random by weight (seeded), and is that source's next one that is
    kept: not empty, valid Unicode, not an exact duplicate of an earlier one of any source, and without any of
    the sentences `exclude`. Both tests are made on NFC text with white space collapsed; what is given is the
    source's own text, stripped. A source is read from its beginning. Texts are not split into sentences: a row
    of Parquet or JSON Lines is a document, and so is a line of a text file.

    How a source that runs out is treated: a number promises that many documents in the mixture's shares, so the
    first source that cannot give its next one is an error. "all" reads every source to its end, and the others
    go on when one has ended; it is an error only if there was not one document.

    The embedded corpus joins `EMBEDDED_ROWS_A_DOCUMENT` rows to a document, after leaving out the rows that
    `exclude` names (else hardly a document would remain). It is a few dozen texts: it shows the mechanics of
    training and can teach a model nothing.

    `exclude`: the study's detection and held-out sentences of this language. `counts` is filled while documents are read.
    Raises CorpusError when a source is missing or lacks the language, or runs out (with source, language and how many
    documents there were); the mixture is empty or a weight is not above zero.
    """
    _check(mixture)
    if n_documents != "all" and n_documents < 1:
        raise CorpusError(f"{n_documents} training documents were asked for: ask for at least 1, or for all.")
    return _drawn(mixture, n_documents, seed, _Reader(language, exclude, counts or DocumentCounts()))


class SentenceFilter:
    """Finds whether a document holds any of many sentences, in time that hardly grows with their number.

    A sentence of at least 2k - 1 characters covers one of the text's blocks of k characters that begin at 0, k, 2k, …: its own
    characters from one of the offsets 0 to k - 1 on. So these are looked up, for the largest of `_BLOCKS` that its length
    allows; the shortest sentences are searched for one by one.
    """

    def __init__(self, sentences: Collection[str]) -> None:
        self._short: list[str] = []
        self._by_block: dict[int, dict[str, list[tuple[int, str]]]] = {}
        for sentence in sorted({collapsed(sentence) for sentence in sentences} - {""}):
            size = next((size for size in _BLOCKS if len(sentence) >= 2 * size - 1), None)
            if size is None:
                self._short.append(sentence)
                continue
            of_size = self._by_block.setdefault(size, {})
            for offset in range(size):
                of_size.setdefault(sentence[offset : offset + size], []).append((offset, sentence))

    def matches(self, text: str) -> bool:
        """Whether `text`, which must be `collapsed`, holds one of the sentences."""
        for size, by_block in self._by_block.items():
            for start in range(0, len(text) - size + 1, size):
                for offset, sentence in by_block.get(text[start : start + size], ()):
                    if offset <= start and text.startswith(sentence, start - offset):
                        return True
        return any(sentence in text for sentence in self._short)


def _check(mixture: Mixture) -> None:
    if not mixture:
        raise CorpusError("The training mixture names no corpus: name one, such as embedded or paper.")
    for source, weight in mixture:
        if not (math.isfinite(weight) and weight > 0):
            raise CorpusError(
                f"The share of {source.describe()} in the training mixture is {weight}: give a number above 0, "
                "or leave the corpus out."
            )


def _drawn(mixture: Mixture, n_documents: Wanted, seed: int, reader: _Reader) -> Iterator[str]:
    chance = random.Random(f"{seed}:{reader.language}")
    sources = [source for source, _ in mixture]
    weights = [weight for _, weight in mixture]
    streams = [reader.kept(source) for source in sources]
    n_given = 0
    while streams and (n_documents == "all" or n_given < n_documents):
        (which,) = chance.choices(range(len(streams)), weights)
        text = next(streams[which], None)
        if text is not None:
            n_given += 1
            yield text
        elif n_documents == "all":
            del streams[which], weights[which]
        else:
            raise reader.ran_out(sources[which], n_given, n_documents)
    if not n_given:
        raise reader.ran_out(sources[0], 0, "all")


class _Reader:
    """Reads sources of one language; what it has seen and counted holds for all of them together."""

    def __init__(self, language: str, exclude: Collection[str], counts: DocumentCounts) -> None:
        self.language, self._unwanted, self._counts = language, SentenceFilter(exclude), counts
        self._seen: set[bytes] = set()

    def kept(self, source: CorpusSource) -> Iterator[str]:
        """The documents of a source that are kept, in its order."""
        name, dropped = source.for_language(self.language).describe(), self._counts.dropped
        for text in self._texts(source):
            plain = collapsed(text)
            try:
                digest = hashlib.blake2b(plain.encode(), digest_size=16).digest()
            except UnicodeEncodeError:
                dropped[NOT_TEXT] += 1
                continue
            if not plain:
                dropped[EMPTY] += 1
            elif digest in self._seen:
                dropped[DUPLICATE] += 1
            elif self._unwanted.matches(plain):
                dropped[EXCLUDED] += 1
            else:
                self._seen.add(digest)
                self._counts.kept[name] += 1
                yield text.strip()

    def _texts(self, source: CorpusSource) -> Iterator[str]:
        if source.kind != "embedded":
            yield from iter_texts(source, self.language)
            return
        texts = list(iter_texts(source, self.language))
        rows = [row for row in texts if not self._unwanted.matches(collapsed(row))]
        if n_left_out := len(texts) - len(rows):
            self._counts.dropped[EXCLUDED] += n_left_out
        for first in range(0, len(rows), EMBEDDED_ROWS_A_DOCUMENT):
            yield "\n".join(rows[first : first + EMBEDDED_ROWS_A_DOCUMENT])

    def ran_out(self, source: CorpusSource, n_given: int, wanted: Wanted) -> CorpusError:
        name, counts = source.for_language(self.language).describe(), self._counts
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.dropped.items())) or "none"
        return CorpusError(
            f"The corpus {name} ran out of documents in {self.language!r} after {counts.kept[name]} "
            f"({n_given} of {wanted} from the whole mixture; dropped: {reasons}). Ask for fewer, or for all, give "
            "the corpus a smaller share, or name a larger one."
        )
