"""How to train: batch sizes, learning rate and its schedule, decay, clipping. Imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Schedule = Literal["cosine", "linear"]
"""How the learning rate falls after the warm-up."""


@dataclass(frozen=True)
class TrainSettings:
    """Defaults are paper A's (section 4.2 and its code) where it states them.

    global_batch, micro_batch: in blocks; warmup: share of the steps; weight_decay, betas: AdamW's, on trained values
    only; clip_norm: of the trained tensors' gradient; checkpoint_every: in steps, 0 for the end only.
    """

    n_steps: int
    global_batch: int = 128
    micro_batch: int = 4
    learning_rate: float = 5e-5
    warmup: float = 0.03
    schedule: Schedule = "cosine"
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = 1.0
    checkpoint_every: int = 0

    def rate(self, step: int) -> float:
        """Learning rate of step `step` (from 0): linear warm-up, then cosine or linear decay to 0."""
        n_warm = math.ceil(self.warmup * self.n_steps)
        if step < n_warm:
            return self.learning_rate * (step + 1) / n_warm
        done = (step - n_warm) / max(1, self.n_steps - n_warm)
        left = 1 - done if self.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
        return self.learning_rate * left
