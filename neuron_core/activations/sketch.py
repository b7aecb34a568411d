"""ActivationSketch: what is kept of the activations of one layer's neurons, in integers that add up exactly.

Tokens are added up as integers, minima and maxima, so those of several workers, in any order, give bit for bit what one
process gives. A neuron takes 7.7 kB (`SKETCH_BYTES`): 220 MB for the 28,672 neurons of a layer of a 70B
model, whose layers are measured one at a time.
Shapes: n tokens, I neurons, K buckets.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from polyneuron.neuron_core.activations.buckets import count_buckets
from polyneuron.neuron_core.activations.names import N_BUCKETS
from polyneuron.neuron_core.common.errors import CorpusError

MAX_TOKENS = 1 << 27
"""Tokens of one sketch. With activations below 2^16 neither a count nor the total can then overflow."""

_UNIT = 2.0**-20
_CHUNK_ELEMENTS = 1 << 22


class ActivationSketch:
    """Activations of I neurons over some tokens, of one layer and language."""

    def __init__(
        self, *, n_tokens: int, counts: Tensor, total: Tensor, minimum: Tensor, maximum: Tensor
    ) -> None:
        self.n_tokens = n_tokens
        self.counts = counts
        """int32 [I, K]: tokens per bucket (`neuron_core.activations.buckets`)."""
        self.total = total
        """int64 [I]: sum in units of 2^-20, each activation rounded to it, so that a mean is off by at most 2^-21."""
        self.minimum, self.maximum = minimum, maximum
        """float32 [I]: +inf and -inf where there is no token, NaN once an activation was."""

    @classmethod
    def empty(cls, n_neurons: int, device: torch.device | str = "cpu") -> ActivationSketch:
        """A sketch that no token was added to yet."""
        return cls(
            n_tokens=0,
            counts=torch.zeros(n_neurons, N_BUCKETS, dtype=torch.int32, device=device),
            total=torch.zeros(n_neurons, dtype=torch.int64, device=device),
            minimum=torch.full((n_neurons,), torch.inf, device=device),
            maximum=torch.full((n_neurons,), -torch.inf, device=device),
        )

    def add(self, values_nI: Tensor) -> None:
        """Takes in the activations of n tokens, read as float32 and smaller than `buckets.LARGEST` in magnitude. Raises
        CorpusError for more than `MAX_TOKENS` tokens."""
        self.n_tokens = checked_tokens(self.n_tokens + len(values_nI))
        for chunk in values_nI.split(max(1, _CHUNK_ELEMENTS // len(self.total))):
            values = chunk.float()
            count_buckets(self.counts, values)
            self.total += (values / _UNIT).round_().to(torch.int64).sum(0)
            if len(values):
                self.minimum = torch.minimum(self.minimum, values.amin(0))
                self.maximum = torch.maximum(self.maximum, values.amax(0))

    def cpu(self) -> ActivationSketch:
        """The same sketch in host memory."""
        moved = {name: getattr(self, name).cpu() for name in ("counts", "total", "minimum", "maximum")}
        return ActivationSketch(n_tokens=self.n_tokens, **moved)

    def mean(self) -> npt.NDArray[np.float64]:
        """The mean activation of each neuron, float64 [I]; the sketch must hold a token."""
        return self.total.numpy() * _UNIT / self.n_tokens


def checked_tokens(n_tokens: int) -> int:
    """The number itself. Raises CorpusError when a sketch cannot count so many."""
    if n_tokens > MAX_TOKENS:
        raise CorpusError(
            f"{n_tokens} tokens of one language are more than the {MAX_TOKENS} that activation statistics count "
            "without overflow; give fewer sentences"
        )
    return n_tokens
