"""Token blocks for continued pretraining, as they lie in their cache: packed documents that never see each other.

Shapes: T tokens of a block, N blocks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.neuron_core.training.data.packed_batch import NO_LABEL, PADDING, Block

MANIFEST = "blocks.json"


@dataclass(frozen=True)
class BlockSummary:
    """What is in a cache of blocks. Tokens count with BOS and EOS, and without padding."""

    language: str
    sources: list[str]
    revisions: list[str | None]
    n_documents: int
    n_validation_documents: int
    n_tokens: int
    n_validation_tokens: int
    n_read: int
    kept: dict[str, int]
    dropped: dict[str, int]


class TokenBlocks:
    """The blocks of one language and split, read from memory-mapped files; `blocks[i]` is a `Block`."""

    def __init__(
        self, language: str, max_tokens: int, pad_id: int, arrays: dict[str, np.ndarray], split: str
    ) -> None:
        self.language, self.max_tokens, self.pad_id = language, max_tokens, pad_id
        self._tokens, self._piece_starts = arrays["tokens"], arrays["piece_starts"]
        self._piece_documents = arrays["piece_documents"]
        self._block_starts, self._pieces = arrays[f"{split}_starts"], arrays[f"{split}_pieces"]

    def __len__(self) -> int:
        """N."""
        return len(self._block_starts) - 1

    def __getitem__(self, index: int) -> Block:
        """Block `index`, from 0 to N - 1. Raises IndexError for another."""
        if not 0 <= index < len(self):
            raise IndexError(f"There is no block {index} of {len(self)} in {self.language!r}")
        input_ids = np.full(self.max_tokens, self.pad_id, np.int64)
        labels = np.full(self.max_tokens, NO_LABEL, np.int64)
        segment_ids = np.full(self.max_tokens, PADDING, np.int64)
        position_ids = np.arange(self.max_tokens)
        filled = 0
        for piece in self._pieces[self._block_starts[index] : self._block_starts[index + 1]]:
            ids = self._tokens[self._piece_starts[piece] : self._piece_starts[piece + 1]]
            here = slice(filled, filled + len(ids))
            input_ids[here], segment_ids[here] = ids, self._piece_documents[piece]
            position_ids[here] = np.arange(len(ids))
            labels[filled + 1 : here.stop] = ids[1:]
            filled = here.stop
        position_ids[filled:] -= filled
        return Block(self.language, *map(torch.from_numpy, (input_ids, position_ids, segment_ids, labels)))


class BlockList(Protocol):
    """Blocks of `max_tokens` tokens each, numbered from 0."""

    max_tokens: int

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Block: ...


class JoinedBlocks:
    """The blocks of several languages, one language after the other, numbered from 0."""

    def __init__(self, parts: Sequence[BlockList]) -> None:
        """Raises ValueError without parts, or for blocks of different lengths."""
        lengths = {part.max_tokens for part in parts}
        if len(lengths) != 1:
            raise ValueError(f"Only blocks of one length can be joined, these have {sorted(lengths)}")
        self.parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        """N, of all languages."""
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Block:
        """Block `index`, from 0 to N - 1. Raises IndexError for another."""
        if not 0 <= index < len(self):
            raise IndexError(f"There is no block {index} of {len(self)}")
        which = int(np.searchsorted(self._ends, index, side="right"))
        return self.parts[which][index - int(self._ends[which]) + len(self.parts[which])]


@dataclass(frozen=True)
class PreparedBlocks:
    """The two splits of one language. No document is in both."""

    folder: Path
    key: str
    training: TokenBlocks
    validation: TokenBlocks
    summary: BlockSummary


_ARRAYS = (
    *("tokens", "piece_starts", "piece_documents"),
    *(f"{split}_{what}" for split in ("training", "validation") for what in ("starts", "pieces")),
)


def open_blocks(folder: str | Path) -> PreparedBlocks:
    """The blocks in a folder that `prepare_blocks` made; reads only what is asked for.

    Raises:
        StoreError: the folder is missing or damaged.
    """
    folder = Path(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        summary = BlockSummary(**manifest["summary"])
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS
        }
        n_tokens = summary.n_tokens + summary.n_validation_tokens
        if not len(arrays["tokens"]) == arrays["piece_starts"][-1] == n_tokens:
            raise ValueError(f"{len(arrays['tokens'])} tokens instead of {n_tokens}")
        max_tokens, pad_id = int(manifest["key"]["max_tokens"]), int(manifest["pad_id"])
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"The token blocks in {folder} cannot be read: {error}. Delete the folder; the next run makes it again."
        ) from error
    training, validation = (
        TokenBlocks(summary.language, max_tokens, pad_id, arrays, split)
        for split in ("training", "validation")
    )
    return PreparedBlocks(folder, folder.name.rpartition("-")[2], training, validation, summary)
