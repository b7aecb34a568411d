"""Blocks of tokens for training, as they lie in their cache: pieces of texts in a row, then padding.

Shapes: T tokens of a block.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from polyneuron.neuron_core.training.data.packed_batch import NO_LABEL, PADDING, Block
from polyneuron.neuron_core.training.data.token_files import TokenFolder

SPLITS = ("training", "validation")
_ARRAYS = (
    *("tokens", "piece_starts", "piece_documents"),
    *(f"{split}_{what}" for split in SPLITS for what in ("starts", "pieces")),
)


def filled_block(max_tokens: int, pad_id: int, pieces: Iterable[tuple[np.ndarray, int, int]]) -> Block:
    """The block of some pieces, each given as its token ids, its document, and how many of its first tokens are not
    predicted."""
    input_ids = np.full(max_tokens, pad_id, np.int64)
    labels = np.full(max_tokens, NO_LABEL, np.int64)
    segment_ids = np.full(max_tokens, PADDING, np.int64)
    position_ids = np.arange(max_tokens)
    filled = 0
    for ids, document, n_unlabelled in pieces:
        place = slice(filled, filled + len(ids))
        input_ids[place], segment_ids[place] = ids, document
        position_ids[place] = np.arange(len(ids))
        labels[filled + n_unlabelled : place.stop] = ids[n_unlabelled:]
        filled = place.stop
    position_ids[filled:] -= filled
    return Block(*map(torch.from_numpy, (input_ids, position_ids, segment_ids, labels)))


class TokenBlocks(Dataset[Block]):
    """The blocks of one language and split."""

    def __init__(self, files: TokenFolder, split: str) -> None:
        self._files = files
        self._starts, self._pieces = files.arrays[f"{split}_starts"], files.arrays[f"{split}_pieces"]

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> Block:
        """Block `index`, from 0 on. Raises IndexError where there is none."""
        if not 0 <= index < len(self):
            raise IndexError(f"There is no block {index} of {len(self)} in {self._files.language!r}")
        arrays, pieces = self._files.arrays, self._pieces[self._starts[index] : self._starts[index + 1]]
        tokens, starts, documents = arrays["tokens"], arrays["piece_starts"], arrays["piece_documents"]
        return filled_block(
            self._files.max_tokens,
            self._files.pad_id,
            ((tokens[starts[piece] : starts[piece + 1]], documents[piece], 1) for piece in pieces),
        )


class PreparedBlocks(TokenFolder):
    """The two splits of one language, in a folder that `prepare_blocks` made. No document is in both."""

    def __init__(self, folder: str | Path) -> None:
        """Opens a folder and reads only what is asked for. Raises StoreError where it is missing or damaged."""
        super().__init__(folder, _ARRAYS, starts="piece_starts")
        self.training, self.validation = (TokenBlocks(self, split) for split in SPLITS)
