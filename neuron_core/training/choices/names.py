"""The words for what is trained. Imports nothing heavy."""

from typing import Literal

Strategy = Literal["shared", "exclusive", "related", "random", "full", "lora", "auto"]
"""Which neurons continued pretraining trains (`choices.strategies`). full and lora are outside baselines: every neuron of
every layer, by its own values or by low-rank adapters; auto lets the language-agnostic score decide."""

TransferChoice = Literal["source", "target", "source+target", "random"]
"""Whose ffn neurons are fine-tuned for transfer (`choices.transfer_choices`)."""
