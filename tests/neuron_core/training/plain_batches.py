"""Random blocks without padding, as batches of the training loop."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

N_BLOCKS = 8


@dataclass(frozen=True)
class PlainBatch:
    """Token ids int64 [B, T]; everything but the first token is predicted."""

    ids: Tensor

    def inputs(self) -> dict[str, Any]:
        return {"input_ids": self.ids}

    @property
    def labels(self) -> Tensor:
        return self.ids


def block(number: int) -> Tensor:
    """The tokens [12] of one block."""
    return torch.randint(3, 90, (12,), generator=torch.Generator().manual_seed(number))


def make_batch(numbers: Sequence[int]) -> PlainBatch:
    return PlainBatch(torch.stack([block(number) for number in numbers]))


def four_in_turn(step: int) -> list[int]:
    """The blocks of a global batch of four."""
    return [(4 * step + i) % N_BLOCKS for i in range(4)]


def five_in_turn(step: int) -> list[int]:
    """An odd number of blocks, so that ranks have unequal shares."""
    return [(5 * step + i) % N_BLOCKS for i in range(5)]


def make_wide_batch(numbers: Sequence[int]) -> PlainBatch:
    """Blocks [32] from the whole vocabulary of SmolLM2."""
    rows = [torch.randint(3, 49_000, (32,), generator=torch.Generator().manual_seed(n)) for n in numbers]
    return PlainBatch(torch.stack(rows))


def new_every_step(step: int) -> list[int]:
    """Three blocks never seen before."""
    return [3 * step, 3 * step + 1, 3 * step + 2]
