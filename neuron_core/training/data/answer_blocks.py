"""Blocks of prompts with answers: one item a block, the answer labelled, as they lie in their cache.

Shapes: N blocks, T tokens of a block.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polyneuron.neuron_core.common.errors import CorpusError, StoreError
from polyneuron.neuron_core.common.names import safe_name
from polyneuron.neuron_core.training.data.answers import AnswerCounts, Example, answer_tokens
from polyneuron.neuron_core.training.data.blocks import MANIFEST
from polyneuron.neuron_core.training.data.feed import Feed
from polyneuron.neuron_core.training.data.packed_batch import NO_LABEL, PADDING, Block, PackedBatch
from polyneuron.neuron_core.training.data.token_files import (
    digest,
    pad_id,
    require_usable,
    sync,
    tokenizer_fingerprint,
    write_folder,
)

_FORMAT = 1
_ARRAYS = ("tokens", "starts", "n_prompt")


@dataclass(frozen=True)
class AnswerSummary:
    """What is in a cache of answers; see `AnswerCounts`. n_tokens: all; n_answer_tokens: those that are learnt."""

    language: str
    n_examples: int
    n_truncated: int
    n_tokens: int
    n_answer_tokens: int
    dropped: dict[str, int]


class AnswerBlocks:
    """N items, read from memory-mapped files; `blocks[i]` is a `Block` of T tokens whose answer is labelled."""

    def __init__(
        self, folder: Path, max_tokens: int, pad: int, summary: AnswerSummary, arrays: dict[str, np.ndarray]
    ) -> None:
        self.folder, self.max_tokens, self.summary = folder, max_tokens, summary
        self._pad, self._arrays = pad, arrays

    @property
    def key(self) -> str:
        """Hash of everything that decides the blocks."""
        return self.folder.name.rpartition("-")[2]

    def __len__(self) -> int:
        """N."""
        return len(self._arrays["n_prompt"])

    def __getitem__(self, index: int) -> Block:
        """Block `index`, from 0 to N - 1. Raises IndexError for another."""
        if not 0 <= index < len(self):
            raise IndexError(f"There is no block {index} of {len(self)}")
        starts, n_prompt = self._arrays["starts"], int(self._arrays["n_prompt"][index])
        ids = self._arrays["tokens"][starts[index] : starts[index + 1]]
        input_ids = np.full(self.max_tokens, self._pad, np.int64)
        labels = np.full(self.max_tokens, NO_LABEL, np.int64)
        segment_ids = np.full(self.max_tokens, PADDING, np.int64)
        position_ids = np.arange(self.max_tokens)
        input_ids[: len(ids)], segment_ids[: len(ids)] = ids, index
        labels[n_prompt : len(ids)] = ids[n_prompt:]
        position_ids[len(ids) :] -= len(ids)
        return Block(
            self.summary.language, *map(torch.from_numpy, (input_ids, position_ids, segment_ids, labels))
        )


def prepare_answers(
    cache: str | Path,
    examples: Sequence[Example],
    language: str,
    tokenizer: Any,
    *,
    max_tokens: int,
    add_bos: bool,
) -> AnswerBlocks:
    """The blocks of some examples, from the cache if they were made before, else made whole or not at all.

    Args:
        cache: the folder that holds the caches.
        tokenizer: a fast tokenizer with an EOS token.
        max_tokens: T.
        add_bos: whether a prompt begins with BOS, as it will when the benchmark is asked.

    Raises:
        CorpusError: no example can be learnt. ModelError: a tokenizer that is not fast, or lacks EOS or the BOS asked
            for. StoreError: the cache cannot be written or is damaged.
    """
    require_usable(tokenizer, add_bos)
    parts = {
        "format": _FORMAT,
        "language": language,
        "examples": digest([asdict(example) for example in examples]),
        "tokenizer": tokenizer_fingerprint(tokenizer),
        "max_tokens": max_tokens,
        "add_bos": add_bos,
    }
    folder = Path(cache).expanduser() / f"{safe_name(language)}-{digest(parts)}"
    if not folder.exists():
        counts = AnswerCounts()
        found = [
            (np.array(ids, np.int32), n_prompt)
            for ids, n_prompt in answer_tokens(examples, tokenizer, max_tokens, add_bos, counts)
        ]
        if not found:
            reasons = ", ".join(f"{reason} {n}" for reason, n in counts.dropped.items()) or "there are none"
            raise CorpusError(
                f"None of {len(examples)} examples can be learnt with max_tokens {max_tokens}: {reasons}"
            )
        lengths = [len(ids) for ids, _ in found]
        summary = AnswerSummary(
            language,
            counts.kept,
            counts.truncated,
            sum(lengths),
            sum(len(ids) - n_prompt for ids, n_prompt in found),
            dict(sorted(counts.dropped.items())),
        )
        arrays: dict[str, np.ndarray] = {
            "tokens": np.concatenate([ids for ids, _ in found]),
            "starts": np.cumsum([0, *lengths], dtype=np.int64),
            "n_prompt": np.array([n for _, n in found], np.int32),
        }
        manifest = {"key": parts, "pad_id": pad_id(tokenizer), "summary": asdict(summary)}

        def fill(temporary: Path) -> None:
            for name, values in arrays.items():
                with (temporary / f"{name}.npy").open("xb") as file:
                    np.save(file, values, allow_pickle=False)
                    sync(file)
            with (temporary / MANIFEST).open("x", encoding="utf-8") as text:
                json.dump(manifest, text, ensure_ascii=False, indent=1, sort_keys=True)
                sync(text)

        write_folder(folder, fill)
    return open_answers(folder)


def open_answers(folder: str | Path) -> AnswerBlocks:
    """The blocks in a folder that `prepare_answers` made. Raises StoreError when it is missing or damaged."""
    folder = Path(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        summary = AnswerSummary(**manifest["summary"])
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS
        }
        if not len(arrays["tokens"]) == arrays["starts"][-1] == summary.n_tokens:
            raise ValueError(f"{len(arrays['tokens'])} tokens instead of {summary.n_tokens}")
        return AnswerBlocks(
            folder, int(manifest["key"]["max_tokens"]), int(manifest["pad_id"]), summary, arrays
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"The answers in {folder} cannot be read: {error}. Delete the folder; the next run makes it again."
        ) from error


class AnswerFeed(Feed):
    """A `Feed` of answers; folders: of `prepare_answers`. A micro-batch is as long as its longest item."""

    def open(self, folder: str) -> AnswerBlocks:
        """The items of one folder."""
        return open_answers(folder)

    def batch(self, indices: Sequence[int]) -> PackedBatch:
        """Some items as one forward pass, without the padding that all of them have."""
        return trimmed(super().batch(indices))


def trimmed(batch: PackedBatch) -> PackedBatch:
    """The batch without the last columns that are padding in every block."""
    n_tokens = int((batch.segment_ids != PADDING).sum(1).max())
    tensors = ("input_ids", "position_ids", "segment_ids", "labels")
    blocks = tuple(
        replace(block, **{name: getattr(block, name)[:n_tokens] for name in tensors})
        for block in batch.blocks
    )
    return replace(batch, blocks=blocks)
