"""What a rank reads while it trains: blocks from their folders, in the sampler's order."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import xxhash
from torch.utils.data import ConcatDataset, Dataset

from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.training.data.blocks import PreparedBlocks
from polyneuron.neuron_core.training.data.packed_batch import Block, PackedBatch


def with_attention(config: Any) -> Any:
    """A copy of a model's config that knows which attention the loaded model has, for its masks."""
    known = copy.deepcopy(config)
    known.get_text_config()._attn_implementation = anatomy_of(config).attention_implementation
    return known


class BlockSampler:
    """The order in which blocks are seen: every block once an epoch, each epoch in a seeded order of its own. A batch is
    addressed by its step alone, so the step is the whole state: a run that goes on at step s, with any number of workers,
    sees exactly what an unbroken one would. Batches run on across epochs; the last one may be short."""

    def __init__(self, n_blocks: int, seed: int, epochs: int = 1) -> None:
        """Raises ValueError for no blocks, no epochs, or a seed below 0."""
        if n_blocks < 1 or epochs < 1 or seed < 0:
            raise ValueError(
                f"A sampler needs blocks, epochs and a seed from 0 on, not {n_blocks}, {epochs} and {seed}"
            )
        self.n_blocks, self.seed, self.epochs = n_blocks, seed, epochs

    def n_steps(self, global_batch: int) -> int:
        """Steps of all epochs, the last with what is left."""
        return -(-self.n_blocks * self.epochs // global_batch)

    def batch_indices(self, step: int, global_batch: int) -> list[int]:
        """Blocks of batch `step`, from 0, of all workers together, in order. Raises IndexError for a step before the first
        or after the last, ValueError for a `global_batch` below 1."""
        if global_batch < 1:
            raise ValueError(f"A batch needs at least one block, not {global_batch}")
        if not 0 <= step < self.n_steps(global_batch):
            raise IndexError(f"There is no step {step}: {self.n_steps(global_batch)} steps make all epochs")
        first = step * global_batch
        last = min(first + global_batch, self.n_blocks * self.epochs)
        places = (divmod(place, self.n_blocks) for place in range(first, last))
        return [int(_permutation(self.n_blocks, self.seed, epoch)[place]) for epoch, place in places]


@lru_cache(maxsize=4)
def _permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    # Sorted hashes (SplitMix64), not a library's shuffle: the order must outlive the library's version, or a run
    # that goes on after an upgrade would see some blocks twice and others never.
    salt = xxhash.xxh3_64_intdigest(f"{seed}:{epoch}".encode())
    x = (np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) + np.uint64(salt)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(x ^ (x >> np.uint64(31)), kind="stable")


@dataclass(frozen=True, kw_only=True, slots=True)
class Feed:
    """The batches of a training. Travels to every rank and opens the blocks there, memory-mapped."""

    folders: tuple[str, ...]
    """Folders of `prepare_blocks`, one a language."""
    dtype: str
    """Name of the model's dtype, such as "bfloat16"."""
    global_batch: int
    """Blocks of a step, of all ranks together."""
    seed: int
    """Decides the order of the blocks."""
    epochs: int = 1
    """How often every block is seen."""
    config: Any = None
    """The model's, `with_attention`; None as long as nothing but the order of the blocks is asked for."""

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
