"""The words for what is trained, and the scores that decide it. Imports nothing heavy."""

import math
from typing import Literal

Strategy = Literal["shared", "exclusive", "related", "random", "full", "lora", "auto"]
"""Which neurons continued pretraining trains (`choices.strategies`). full and lora are outside baselines: every neuron of
every layer, by its own values or by low-rank adapters; auto lets the language-agnostic score decide; random stands for a
control of each set that is trained."""

SET_STRATEGIES: tuple[Strategy, ...] = ("shared", "exclusive", "related")
"""Those that train a set, with which random neurons can be compared."""

UNPAIRED: Strategy = "related"
"""The set that random neurons are as many as where a configuration names no set."""

TransferChoice = Literal["source", "target", "source+target", "random"]
"""Whose ffn neurons are fine-tuned for transfer (`choices.strategies.transfer_choices`)."""

LOW_SCORE = 1.0
"""Of the language-agnostic score (Eq. 6). Below: "early-stage" models, whose scores are "around 1" (section 3.3). Figure 5 draws
its line at log 2 = 0.69, where shared and exclusive neurons weigh the same."""

HIGH_SCORE = math.log(101)
"""Above: shared neurons weigh a hundred times what exclusive ones do (Eq. 6: log(1 + 100) = 4.6), our reading of
"several orders of magnitude" (section 3.3). Table 1 names the models it calls low, middle and high, but no score."""
