"""What a rank reads while it trains: blocks from their folders, in the sampler's order."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch.utils.data import ConcatDataset, Dataset

from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.training.data.block_sampler import BlockSampler
from polyneuron.neuron_core.training.data.blocks import PreparedBlocks
from polyneuron.neuron_core.training.data.packed_batch import Block, PackedBatch


def with_attention(config: Any) -> Any:
    """A copy of a model's config that knows which attention the loaded model has, for its masks."""
    known = copy.deepcopy(config)
    known.get_text_config()._attn_implementation = anatomy_of(config).attention_implementation
    return known


@dataclass(frozen=True, kw_only=True, slots=True)
class Feed:
    """The batches of a training. Travels to every rank and opens the blocks there, memory-mapped."""

    folders: tuple[str, ...]
    """Folders of `prepare_blocks`, one a language."""
    config: Any
    """The model's, `with_attention`."""
    dtype: str
    """Name of the model's dtype, such as "bfloat16"."""
    global_batch: int
    """Blocks of a step, of all ranks together."""
    seed: int
    """Decides the order of the blocks."""
    epochs: int = 1
    """How often every block is seen."""

    @staticmethod
    def open(folder: str) -> Dataset[Block]:
        """The training blocks of one folder."""
        return PreparedBlocks(folder).training

    @property
    def blocks(self) -> ConcatDataset[Block]:
        """The training blocks of all folders, one folder after the other."""
        return _opened(self.open, self.folders)

    @property
    def sampler(self) -> BlockSampler:
        """The order in which the blocks are seen."""
        return BlockSampler(len(self.blocks), self.seed, self.epochs)

    def blocks_of_step(self, step: int) -> list[int]:
        """The numbers of the blocks of one step, from 0, in order."""
        return self.sampler.batch_indices(step, self.global_batch)

    def batch(self, indices: Sequence[int]) -> PackedBatch:
        """Some blocks as one forward pass, on the GPU where there is one."""
        return self.packed([self.blocks[index] for index in indices])

    def packed(self, blocks: Sequence[Block]) -> PackedBatch:
        """Blocks as they are, as one forward pass."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return PackedBatch(blocks, self.config, getattr(torch, self.dtype), device)


@lru_cache(maxsize=1)
def _opened(open_folder: Callable[[str], Dataset[Block]], folders: tuple[str, ...]) -> ConcatDataset[Block]:
    return ConcatDataset([open_folder(folder) for folder in folders])
