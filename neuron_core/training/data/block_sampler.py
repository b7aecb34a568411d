"""The order in which token blocks are seen."""

from functools import lru_cache

import numpy as np
import xxhash


class BlockSampler:
    """The order in which blocks are seen: every block once an epoch, each epoch in a seeded order of its own.

    A batch is addressed by its step alone, so the step is the whole state: a run that goes on at step s, with any number of
    workers, sees exactly what an unbroken one would. Batches run on across epochs; the last one may be short.
    """

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
        """Blocks of batch `step`, from 0, of all workers together, in order.

        Raises:
            IndexError: a step before the first or after the last. ValueError: `global_batch` below 1.
        """
        if global_batch < 1:
            raise ValueError(f"A batch needs at least one block, not {global_batch}")
        if not 0 <= step < self.n_steps(global_batch):
            raise IndexError(f"There is no step {step}: {self.n_steps(global_batch)} steps make all epochs")
        first = step * global_batch
        last = min(first + global_batch, self.n_blocks * self.epochs)
        return [self._at(*divmod(place, self.n_blocks)) for place in range(first, last)]

    def _at(self, epoch: int, place: int) -> int:
        return int(_permutation(self.n_blocks, self.seed, epoch)[place])


@lru_cache(maxsize=4)
def _permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    # Sorted hashes (SplitMix64), not a library's shuffle: the order must outlive the library's version, or a run
    # that goes on after an upgrade would see some blocks twice and others never.
    salt = xxhash.xxh3_64_intdigest(f"{seed}:{epoch}".encode())
    x = (np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) + np.uint64(salt)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(x ^ (x >> np.uint64(31)), kind="stable")
