"""What changing a model does to its held-out perplexity, with paired bootstrap intervals over sentences.

Perplexity is exp(sum of nats / predicted tokens). An effect is a multiplier, PPL(variant) / PPL(base),
because the changes span orders of magnitude; a multiplier below 1 is an improvement and is shown as such.
Sentences that base or variant could not score are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from polyneuron.eval.report.numbers.study import ModelStudy
from polyneuron.eval.report.numbers.variants import Variant
from polyneuron.neuron_core.common.errors import StoreError

RESAMPLES = 1000
SEED = 0


@dataclass(frozen=True)
class Effect:
    """``ppl`` of the sentences both scored; ``times``: its multiplier over the base's; ``low``/``high``: 95%
    percentile interval over those ``n_sentences``."""

    ppl: float
    times: float
    low: float
    high: float
    n_sentences: int


@dataclass(frozen=True)
class Effects:
    """``base[language]``: base perplexity; ``by[variant name][language]``: its effect."""

    base: dict[str, float]
    by: dict[str, dict[str, Effect]]

    def of(self, name: str, language: str) -> Effect | None:
        return self.by.get(name, {}).get(language)


def effects_of(study: ModelStudy) -> Effects | None:
    """Of the study's own variants; see `effects_among`."""
    return effects_among(study.variants)


def effects_among(variants: Sequence[Variant]) -> Effects | None:
    """None without a base measurement. Raises StoreError when a variant scored other sentences than it."""
    bases = [v for v in variants if v.kind == "base"]
    if not bases:
        return None
    base = bases[0]
    by: dict[str, dict[str, Effect]] = {v.name: {} for v in variants if v is not base}
    perplexity: dict[str, float] = {}
    for language, (_, base_nats, base_tokens) in base.nll.items():
        scored = ~np.isnan(base_nats)
        if not scored.any():
            continue
        perplexity[language] = float(np.exp(base_nats[scored].sum() / base_tokens[scored].sum()))
        for variant in variants:
            if variant is base:
                continue
            if (effect := effect_between(base, variant, language)) is not None:
                by[variant.name][language] = effect
    return Effects(perplexity, by)


def effect_between(base: Variant, variant: Variant, language: str) -> Effect | None:
    """One variant against another on the sentences that both could score; None where there is none.

    Raises StoreError when they were measured on different sentences.
    """
    if language not in base.nll or language not in variant.nll:
        return None
    _same_sentences(base, variant, language)
    (base_nats, tokens), (nats, own_tokens) = base.nll[language][1:], variant.nll[language][1:]
    both = ~np.isnan(base_nats) & ~np.isnan(nats)
    if not both.any():
        return None
    base_nats, tokens, nats, own_tokens = (values[both] for values in (base_nats, tokens, nats, own_tokens))
    weights_BS = _resamples(len(nats))
    base_B = weights_BS @ base_nats / (weights_BS @ tokens)
    delta = nats.sum() / own_tokens.sum() - base_nats.sum() / tokens.sum()
    delta_B = weights_BS @ nats / (weights_BS @ own_tokens) - base_B
    low, high = np.percentile(delta_B, [2.5, 97.5])
    with np.errstate(over="ignore"):
        ppl, times, low, high = (float(np.exp(x)) for x in (nats.sum() / own_tokens.sum(), delta, low, high))
    return Effect(ppl, times, low, high, len(nats))


@lru_cache(maxsize=8)
def _resamples(n_sentences: int) -> NDArray[np.float64]:
    """How often each sentence is drawn in each resample, [RESAMPLES, S]."""
    rng = np.random.default_rng(SEED)
    return rng.multinomial(n_sentences, np.full(n_sentences, 1 / n_sentences), size=RESAMPLES).astype(
        np.float64
    )


def _same_sentences(base: Variant, variant: Variant, language: str) -> None:
    if not np.array_equal(base.nll[language][0], variant.nll[language][0]):
        raise StoreError(
            f"Variant {variant.name} was measured on other {language} sentences than {base.name}, so they "
            f"cannot be compared. Rerun `polyneuron {'train' if variant.kind == 'tuned' else 'ablate'}` on this store."
        )
