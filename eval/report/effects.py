"""What switching a set off does to held-out perplexity, with paired bootstrap intervals over sentences.

Perplexity is exp(sum of nats / predicted tokens). An effect is a multiplier, PPL(variant) / PPL(base),
because the changes span orders of magnitude; a multiplier below 1 is an improvement and is shown as such.
Sentences that base or variant could not score are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.report.data import ModelStudy, Variant
from neuron_core.errors import StoreError

RESAMPLES = 1000
SEED = 0


@dataclass(frozen=True)
class Effect:
    """``times``: PPL multiplier over base; ``low``/``high``: 95% percentile interval over sentences."""

    ppl: float
    times: float
    low: float
    high: float


@dataclass(frozen=True)
class Effects:
    """``base[language]``: base perplexity; ``by[variant name][language]``: its effect."""

    base: dict[str, float]
    by: dict[str, dict[str, Effect]]

    def of(self, name: str, language: str) -> Effect | None:
        return self.by.get(name, {}).get(language)


def effects_of(study: ModelStudy) -> Effects | None:
    """None without a base measurement. Raises StoreError when a variant scored other sentences than it."""
    bases = study.of_kind("base")
    if not bases:
        return None
    base = bases[0]
    by: dict[str, dict[str, Effect]] = {v.name: {} for v in study.variants if v is not base}
    perplexity: dict[str, float] = {}
    for language, (_, base_nats, base_tokens) in base.nll.items():
        scored = ~np.isnan(base_nats)
        if not scored.any():
            continue
        perplexity[language] = float(np.exp(base_nats[scored].sum() / base_tokens[scored].sum()))
        for variant in study.variants:
            if variant is base or language not in variant.nll:
                continue
            _same_sentences(base, variant, language)
            other_nats, other_tokens = variant.nll[language][1:]
            both = ~np.isnan(base_nats) & ~np.isnan(other_nats)
            if not both.any():
                continue
            nats, other_nats, other_tokens = base_nats[both], other_nats[both], other_tokens[both]
            tokens = base_tokens[both]
            weights_BS = _resamples(len(nats))
            base_B = weights_BS @ nats / (weights_BS @ tokens)
            delta = other_nats.sum() / other_tokens.sum() - nats.sum() / tokens.sum()
            delta_B = weights_BS @ other_nats / (weights_BS @ other_tokens) - base_B
            low, high = np.percentile(delta_B, [2.5, 97.5])
            with np.errstate(over="ignore"):
                times, low, high = (float(np.exp(x)) for x in (delta, low, high))
            by[variant.name][language] = Effect(perplexity[language] * times, times, low, high)
    return Effects(perplexity, by)


def _resamples(n_sentences: int) -> NDArray[np.float64]:
    """How often each sentence is drawn in each resample, [RESAMPLES, S]."""
    rng = np.random.default_rng(SEED)
    return rng.multinomial(n_sentences, np.full(n_sentences, 1 / n_sentences), size=RESAMPLES).astype(
        np.float64
    )


def _same_sentences(base: Variant, variant: Variant, language: str) -> None:
    if not np.array_equal(base.nll[language][0], variant.nll[language][0]):
        raise StoreError(
            f"Variant {variant.name} was measured on other {language} sentences than the base model, so they "
            "cannot be compared. Rerun `polyneuron ablate` on this store."
        )
