"""How paper B fine-tunes for cross-lingual transfer (section 2.2, appendix B). Imports nothing heavy.

Its models are loaded in 4 bits (`model.load.from_pretrained`); a recipe does not say so, as it depends on the machine.
"""

from dataclasses import dataclass, replace

from polyneuron.neuron_core.training.loop.settings import TrainSettings
from polyneuron.neuron_core.training.trainable.lora_spec import LoraSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferRecipe:
    """One task's fine-tuning. AdamW, warm-up, schedule and clipping are the same for all (appendix B.3)."""

    lora: LoraSpec
    """Adapters of the chosen ffn neurons' gate rows and of all neurons of the `attention` groups."""
    attention: tuple[str, ...]
    """The attention groups that are tuned."""
    n_items: int | None
    """Training items; None: all of them."""
    max_tokens: int
    """Tokens of an item, at most."""
    epochs: int
    """How often every item is seen."""
    batch: int
    """Items of a step."""
    learning_rate: float
    """The rate at the end of the warm-up."""

    def settings(
        self, n_steps: int, micro_batch: int | None = None, checkpoint_every: int = 0
    ) -> TrainSettings:
        """The settings of a training of `n_steps`; a micro-batch is a whole batch unless said otherwise."""
        return TrainSettings(
            n_steps=n_steps,
            global_batch=self.batch,
            micro_batch=micro_batch or self.batch,
            learning_rate=self.learning_rate,
            warmup=0.01,
            schedule="linear",
            weight_decay=0.1,
            betas=(0.95, 0.999),
            clip_norm=10.0,
            checkpoint_every=checkpoint_every,
        )


_XNLI = TransferRecipe(
    lora=LoraSpec(8, 16),
    attention=("q", "k", "v", "o"),
    n_items=100_000,
    max_tokens=256,
    epochs=2,
    batch=8,
    learning_rate=1e-5,
)
_XQUAD = TransferRecipe(
    lora=LoraSpec(64, 128),
    attention=("q", "k", "v"),
    n_items=None,
    max_tokens=512,
    epochs=10,
    batch=4,
    learning_rate=5e-5,
)

TRANSFER_RECIPES: dict[str, TransferRecipe] = {
    "xnli": _XNLI,
    "xnli-nemo": replace(_XNLI, lora=LoraSpec(64, 128)),
    "xquad": _XQUAD,
}
"""By task; xnli is that of Llama 3.1 8B, xnli-nemo of Mistral Nemo, whose alpha the paper does not give (2 rank, as in the
others)."""
