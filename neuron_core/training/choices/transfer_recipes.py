"""How paper B fine-tunes for cross-lingual transfer (section 2.2, appendix B). Imports nothing heavy.

Its models are loaded in 4 bits (`neuron_core.nf4`); a recipe does not say so, as it depends on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from polyneuron.neuron_core.training.loop.settings import Schedule, TrainSettings
from polyneuron.neuron_core.training.trainable.lora_spec import LoraSpec


@dataclass(frozen=True)
class TransferRecipe:
    """One task's fine-tuning.

    lora: of the chosen ffn neurons' gate rows and of all neurons of the `attention` groups; n_items: training items, None
    for all; batch: items a step; max_tokens: of an item; the rest as `TrainSettings`.
    """

    lora: LoraSpec
    attention: tuple[str, ...]
    n_items: int | None
    max_tokens: int
    epochs: int
    batch: int
    learning_rate: float
    betas: tuple[float, float] = (0.95, 0.999)
    weight_decay: float = 0.1
    clip_norm: float = 10.0
    warmup: float = 0.01
    schedule: Schedule = "linear"

    def settings(
        self, n_steps: int, micro_batch: int | None = None, checkpoint_every: int = 0
    ) -> TrainSettings:
        """How to train for `n_steps`; a micro-batch is a whole batch unless said otherwise."""
        return TrainSettings(
            n_steps=n_steps,
            global_batch=self.batch,
            micro_batch=micro_batch or self.batch,
            learning_rate=self.learning_rate,
            warmup=self.warmup,
            schedule=self.schedule,
            weight_decay=self.weight_decay,
            betas=self.betas,
            clip_norm=self.clip_norm,
            checkpoint_every=checkpoint_every,
        )


def _xnli(rank: int) -> TransferRecipe:
    return TransferRecipe(LoraSpec(rank, 2 * rank), ("q", "k", "v", "o"), 100_000, 256, 2, 8, 1e-5)


TRANSFER_RECIPES: dict[str, TransferRecipe] = {
    "xnli": _xnli(8),
    "xnli-nemo": _xnli(64),
    "xquad": TransferRecipe(LoraSpec(64, 128), ("q", "k", "v"), None, 512, 10, 4, 5e-5),
}
"""By task; xnli is that of Llama 3.1 8B, xnli-nemo of Mistral Nemo, whose alpha the paper does not give (2 rank, as in the
others)."""
