"""The sentences of a study, as token ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from polyneuron.neuron_core.passes.batches import Sentence


@dataclass(frozen=True)
class Sentences:
    """What one model reads, by language in the order of the configuration."""

    detection: Mapping[str, list[Sentence]]
    """Sentences in which neurons are looked for."""
    heldout: Mapping[str, list[Sentence]]
    """Other sentences, on which perplexity is measured."""

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the study."""
        return tuple(self.detection)

    @property
    def all_heldout(self) -> list[Sentence]:
        """The held-out sentences of all languages."""
        return [sentence for sentences in self.heldout.values() for sentence in sentences]


def sentences_hash(sentences: Iterable[Sentence]) -> str:
    """Hash of token ids and of what is left unscored, in order, as part of a unit's key."""
    digest = xxhash.xxh3_128()
    for sentence in sentences:
        digest.update(
            repr((sentence.language, sentence.index, sentence.token_ids, sentence.n_unscored)).encode()
        )
    return digest.hexdigest()
