"""How to train: batch sizes, learning rate and its schedule, decay, clipping. Imports nothing heavy."""

import math
from dataclasses import dataclass
from typing import Literal

Schedule = Literal["cosine", "linear"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings:
    """How to train; defaults are paper A's (section 4.2 and its code) where it states them."""

    n_steps: int
    """Optimizer steps."""
    global_batch: int = 128
    """Blocks of a step, of all ranks together."""
    micro_batch: int = 4
    """Blocks of one forward pass."""
    learning_rate: float = 5e-5
    """The rate at the end of the warm-up."""
    warmup: float = 0.03
    """Share of the steps over which the rate grows."""
    schedule: Schedule = "cosine"
    """How the rate falls to 0 after the warm-up."""
    weight_decay: float = 0.0
    """AdamW's, on trained values only."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's."""
    clip_norm: float = 1.0
    """Norm to which the gradient of the trained tensors is clipped."""
    checkpoint_every: int = 0
    """Steps between checkpoints; 0: one at the end only."""

    def rate(self, step: int) -> float:
        """The learning rate of step `step` (from 0): linear warm-up, then cosine or linear decay to 0."""
        n_warm = math.ceil(self.warmup * self.n_steps)
        if step < n_warm:
            return self.learning_rate * (step + 1) / n_warm
        done = (step - n_warm) / max(1, self.n_steps - n_warm)
        left = 1 - done if self.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
        return self.learning_rate * left
