"""Which neurons are trained, on what, and how. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from polyneuron.neuron_core.training.choices.names import HIGH_SCORE, LOW_SCORE, Strategy
from polyneuron.neuron_core.training.loop.settings import Schedule
from polyneuron.pipelines.config.corpus import MixturePart
from polyneuron.pipelines.config.section import Once, Section, Seed


class TrainingConfig(Section):
    """Masked continual pretraining of chosen neurons."""

    languages: Annotated[tuple[str | Annotated[tuple[str, ...], Field(min_length=1)], ...], Once] = ()
    """Languages to train for, each by itself; an entry that is a list is trained together. Nothing is trained without any."""
    strategies: Annotated[tuple[Strategy, ...], Once] = Field(default=("auto",), min_length=1)
    """Which neurons are trained; auto lets the language-agnostic score choose."""
    seeds: Annotated[tuple[Seed, ...], Once] = Field(default=(0,), min_length=1)
    """Every training is done once with each."""
    mixture: dict[str, MixturePart] = Field(default={"paper": MixturePart()}, min_length=1)
    """A corpus, corpora with shares or with how they are read, or paper: CulturaX, MADLAD-400 and Wikipedia."""
    n_documents: Annotated[int, Field(ge=1)] | Literal["all"] = 100_000
    """Documents of each language, or all there are."""
    max_tokens: int = Field(default=1024, ge=3)
    """Tokens of a block; batches are made of blocks."""
    epochs: int = Field(default=1, ge=1)
    """Times over the blocks."""
    max_steps: int | None = Field(default=None, ge=1)
    """The most optimizer steps; no limit if left out."""
    global_batch: int = Field(default=128, ge=1)
    """Blocks of an optimizer step."""
    micro_batch: int = Field(default=4, ge=1)
    """Blocks of one pass of a worker."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """The highest learning rate."""
    warmup: float = Field(default=0.03, ge=0, lt=1)
    """The share of steps in which the learning rate rises."""
    schedule: Schedule = "cosine"
    """How the learning rate falls after that."""
    weight_decay: float = Field(default=0.0, ge=0)
    """The weight decay of trained values."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""
    checkpoint_every: int = Field(default=100, ge=0)
    """Optimizer steps between checkpoints; 0 for none."""
    zero_stage: Literal[2, 3] = 2
    """DeepSpeed's stage: gradients and optimizer shared out (2), weights too (3)."""
    recomputed_layers: float = Field(default=0.0, ge=0, le=1)
    """The share of layers whose activations are computed again in the backward pass, to save memory."""
    validate_every: int = Field(default=100, ge=0)
    """Optimizer steps between validations; 0 for the first and last step alone."""
    n_validation: int = Field(default=50, ge=1)
    """Detection sentences of each language that validation measures perplexity on."""
    patience: int | None = Field(default=None, ge=1)
    """Validations without improvement after which training ends; never if left out."""
    low_score: float = LOW_SCORE
    """The strategy auto trains all related neurons below this language-agnostic score."""
    high_score: float = HIGH_SCORE
    """The strategy auto trains the exclusive neurons above this language-agnostic score, and the shared ones between."""

    @field_validator("mixture", mode="before")
    @classmethod
    def _name_or_share_alone(cls, mixture: object) -> object:
        if isinstance(mixture, str):
            return {mixture: {}}
        if not isinstance(mixture, dict):
            return mixture
        return {name: part if isinstance(part, dict) else {"share": part} for name, part in mixture.items()}

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The languages of each training."""
        return tuple((entry,) if isinstance(entry, str) else entry for entry in self.languages)

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> TrainingConfig:
        if self.low_score > self.high_score:
            raise ValueError(f"low_score {self.low_score} is above high_score {self.high_score}")
        return self
