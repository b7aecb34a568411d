"""Validation while a training runs: the likelihood of sentences it never sees, and when to stop.

The sentences are those the neurons were detected with: they are kept out of the training documents and are not those by
which the study judges, so choosing a step by them leaves its perplexities clean.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from polyneuron.neuron_core.passes.batches import MicroBatch, Sentence, micro_batches
from polyneuron.neuron_core.training.data.packed_batch import NO_LABEL

_BATCH_SIZE = 8

Row = dict[str, Any]
"""One language at one validated step: step, language, nll_nats, n_tokens."""


@dataclass(frozen=True)
class SentenceBatch:
    """A micro-batch of sentences as a batch of the training loop; the first token of each is not predicted."""

    sentences: MicroBatch

    def inputs(self) -> dict[str, Any]:
        """The arguments of the model's forward: input_ids and attention_mask, int64 [B, T], on the GPU where there is one."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return {
            "input_ids": self.sentences.input_ids.to(device),
            "attention_mask": self.sentences.attention_mask.to(device),
        }

    @cached_property
    def labels(self) -> Tensor:
        """The tokens, int64 [B, T]; `NO_LABEL` on padding."""
        return self.sentences.input_ids.masked_fill(~self.sentences.attention_mask.bool(), NO_LABEL)


@dataclass(frozen=True)
class Validation:
    """What is validated on, and how often."""

    sentences: Mapping[str, Sequence[Sentence]]
    """By language."""
    watched: tuple[str, ...]
    """The languages that are trained, whose mean decides."""
    every: int = 0
    """Steps between validations; 0: before the first and after the last step only."""
    patience: int | None = None
    """Stop after so many validations without a new best, and keep the values of the best; None: train to the end."""

    def __post_init__(self) -> None:
        """Raises ValueError for a watched language without sentences."""
        if missing := [language for language in self.watched if not self.sentences.get(language)]:
            raise ValueError(f"There are no validation sentences in {', '.join(missing)}")

    @cached_property
    def batches(self) -> dict[str, list[SentenceBatch]]:
        """The micro-batches of each language, in the same order on every rank."""
        return {
            language: [SentenceBatch(batch) for batch in micro_batches(sentences, _BATCH_SIZE)]
            for language, sentences in self.sentences.items()
        }

    def is_due(self, step: int, n_steps: int) -> bool:
        """Whether to validate after `step` steps of `n_steps`."""
        return step in (0, n_steps) or bool(self.every and step % self.every == 0)

    def best_step(self, rows: Sequence[Row]) -> int:
        """The validated step of the lowest mean over the watched languages of the nats per token, the first of equals; 0 is the
        untrained model."""

        def watched_nats(step: int) -> float:
            watched = [row for row in rows if row["step"] == step and row["language"] in self.watched]
            return math.fsum(row["nll_nats"] / row["n_tokens"] for row in watched) / len(watched)

        return min(_steps(rows), key=lambda step: (watched_nats(step), step))

    def is_over(self, rows: Sequence[Row]) -> bool:
        """Whether `patience` validations have passed since the best."""
        if self.patience is None or not rows:
            return False
        steps = _steps(rows)
        return len(steps) - 1 - steps.index(self.best_step(rows)) >= self.patience


def _steps(rows: Sequence[Row]) -> list[int]:
    return list(dict.fromkeys(row["step"] for row in rows))
