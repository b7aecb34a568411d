"""How low-rank adapters are made: rank, scale, where in the feed-forward block, first values. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LoraSpec:
    """W + (alpha / rank) (B * M) A, with A [rank, d_in], B [d_out, rank] and M 1 on the rows of chosen neurons."""

    rank: int
    alpha: float
    ffn: Literal["gate", "all"] = "gate"
    """Where ffn neurons are adapted. gate: the rows of gate_proj alone, as paper B does (its neurons are outputs of the
    activation function); all: gate, up and down, which has no mask and needs every ffn neuron."""
    init: Literal["normal", "kaiming"] = "normal"
    """First values of A: normal of standard deviation 0.01, as we read paper B's N(0, 0.01), or uniform (Hu et al. 2022). B
    is 0 at first."""

    def __post_init__(self) -> None:
        """Raises ValueError for a rank below 1 or an alpha that is not above 0."""
        if self.rank < 1 or self.alpha <= 0:
            raise ValueError(
                f"Adapters need a rank from 1 on and an alpha above 0, not {self.rank} and {self.alpha}"
            )


def everywhere(rank: int) -> LoraSpec:
    """Ordinary LoRA over all linears, alpha = 2 rank: the outside baseline of compact training."""
    return LoraSpec(rank, 2 * rank, "all", "kaiming")
