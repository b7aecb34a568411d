"""What a rank reads while it trains: blocks from their folders, in the sampler's order."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.training.data.block_sampler import BlockSampler
from polyneuron.neuron_core.training.data.blocks import BlockList, JoinedBlocks, open_blocks
from polyneuron.neuron_core.training.data.packed_batch import PackedBatch


def with_attention(config: Any) -> Any:
    """A copy of a model's config that knows which attention the loaded model has, for its masks."""
    known = copy.deepcopy(config)
    known.get_text_config()._attn_implementation = anatomy_of(config).attention_implementation
    return known


@dataclass
class Feed:
    """Travels to every rank and opens the blocks there, memory-mapped.

    folders: of `prepare_blocks`, one a language; config: the model's, `with_attention`; dtype: name of the model's dtype.
    """

    folders: tuple[str, ...]
    config: Any
    dtype: str
    global_batch: int
    seed: int
    epochs: int = 1
    _blocks: Any = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without the open files."""
        return {**self.__dict__, "_blocks": None}

    @property
    def blocks(self) -> JoinedBlocks:
        """All training blocks."""
        if self._blocks is None:
            self._blocks = JoinedBlocks([self.open(folder) for folder in self.folders])
        found: JoinedBlocks = self._blocks
        return found

    def open(self, folder: str) -> BlockList:
        """The training blocks of one folder."""
        return open_blocks(folder).training

    @property
    def sampler(self) -> BlockSampler:
        """The order of the blocks."""
        return BlockSampler(len(self.blocks), self.seed, self.epochs)

    def blocks_of_step(self, step: int) -> list[int]:
        """The global batch of a step."""
        return self.sampler.batch_indices(step, self.global_batch)

    def batch(self, indices: Sequence[int]) -> PackedBatch:
        """Some blocks as one forward pass, on the GPU where there is one."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return PackedBatch(
            tuple(self.blocks[index] for index in indices), self.config, getattr(torch, self.dtype), device
        )
