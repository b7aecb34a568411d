"""What changing a model does to its held-out perplexity, with paired bootstrap intervals over sentences.

Perplexity is exp(sum of nats / predicted tokens). An effect is a multiplier, PPL(variant) / PPL(base), because the changes
span orders of magnitude; a multiplier below 1 is an improvement and is shown as such. "Better" and "worse" are said of effects
that were judged as a family, by the tests that benchmarks are judged by.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from polyneuron.eval.report.numbers.variants import ShownVariant, Variants
from polyneuron.eval.verdicts.statistics import draws_for, fit_to_judge, holm, sign_flip
from polyneuron.eval.verdicts.verdict import BETTER, NO_EVIDENCE, NOT_JUDGED, WORSE
from polyneuron.neuron_core.common.errors import StoreError

RESAMPLES = 1000
SEED = 0
ALPHA = 0.05
"""Level of a family of effects."""
ABOVE, WITHIN, BELOW = "above", "within", "below"
"""Where a number lies beside chance or beside random neurons."""
_ROUNDING = 1e-9
"""A variant that equals the other must not differ by the rounding of sums."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """What a change did in one language, on the sentences that could be scored with it and without it."""

    ppl: float
    """Perplexity with the change."""
    times: float
    """Its multiple of the perplexity without."""
    low: float
    """Lower end of the multiple's 95% percentile interval."""
    high: float
    """Its upper end."""
    n_sentences: int
    """How many sentences were resampled."""
    differences: NDArray[np.float64] = field(compare=False, repr=False)
    """Nats of each sentence with the change, less those without, [n_sentences]."""
    p_adjusted: float | None = None
    """Of a sign-flip test over sentences, adjusted by Holm's method over the family it was judged in; None: not judged."""

    @property
    def verdict(self) -> str:
        """Better, worse or no evidence, at the level of the family; or not judged, also for too few sentences."""
        if self.p_adjusted is None:
            return NOT_JUDGED
        if self.p_adjusted > ALPHA:
            return NO_EVIDENCE
        return WORSE if self.times > 1 else BETTER

    @property
    def side(self) -> str:
        """Where its own interval lies beside ×1: above, below, within it, or not judged for a single sentence."""
        if self.n_sentences < 2:
            return NOT_JUDGED
        if self.high < 1 - _ROUNDING:
            return BELOW
        return ABOVE if self.low > 1 + _ROUNDING else WITHIN


K = TypeVar("K")


def judged(effects: Mapping[K, Effect]) -> dict[K, Effect]:
    """The effects with their p-values, as one family. What has too few sentences to be judged is no part of it."""
    fit = fit_to_judge([effect.n_sentences for effect in effects.values()], ALPHA, "two-sided")
    n_draws = draws_for(sum(fit), ALPHA)
    p_values = [
        sign_flip(effect.differences, n_draws, SEED)["two-sided"] if is_fit else None
        for effect, is_fit in zip(effects.values(), fit, strict=True)
    ]
    return {
        key: replace(effect, p_adjusted=p)
        for (key, effect), p in zip(effects.items(), holm(p_values), strict=True)
    }


@dataclass(frozen=True, slots=True)
class Effects:
    """Effects of a model's variants. ``base[language]``: perplexity unchanged; ``by[variant][language]``: an effect."""

    base: Mapping[str, float]
    by: dict[str, dict[str, Effect]]

    def of(self, variant: ShownVariant | None, language: str) -> Effect | None:
        """The effect of a variant in a language, where both were measured."""
        return None if variant is None else self.by.get(variant.name, {}).get(language)

    def times(self, variants: list[ShownVariant], language: str) -> list[float]:
        """The multiples of those variants that were measured in a language."""
        return [effect.times for v in variants if (effect := self.of(v, language)) is not None]


def effects_of(variants: Variants) -> Effects | None:
    """All effects beside the base model; None where it was not measured. Raises StoreError when a variant was measured on other
    sentences than the base model."""
    base = variants.base
    if base is None:
        return None
    perplexity = {}
    for language, (_, nats, tokens) in base.nll.items():
        if (scored := ~np.isnan(nats)).any():
            perplexity[language] = float(np.exp(nats[scored].sum() / tokens[scored].sum()))
    by: dict[str, dict[str, Effect]] = {}
    for variant in [variant for variant in variants if variant is not base]:
        found = {language: effect_between(base, variant, language) for language in perplexity}
        by[variant.name] = {code: effect for code, effect in found.items() if effect is not None}
    return Effects(perplexity, by)


def effect_between(base: ShownVariant, variant: ShownVariant, language: str) -> Effect | None:
    """One variant against another on the sentences that both could score; None where there is none. Raises StoreError when they
    were measured on different sentences."""
    if language not in base.nll or language not in variant.nll:
        return None
    if not np.array_equal(base.nll[language][0], variant.nll[language][0]):
        raise StoreError(
            f"Variant {variant.name} was measured on other {language} sentences than {base.name}, so they "
            f"cannot be compared. Rerun `polyneuron {'train' if variant.kind == 'tuned' else 'ablate'}` on this store."
        )
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
    return Effect(
        ppl=ppl, times=times, low=low, high=high, n_sentences=len(nats), differences=nats - base_nats
    )


def beside_random(variants: Variants, variant: ShownVariant, language: str) -> str:
    """Whether a change does more than every one of its random draws on the same sentences. Above: for each draw the 95% interval
    of their ratio of perplexities lies above ×1; below: under it; not judged: there is no draw, or a single sentence."""
    draws = [effect_between(draw, variant, language) for draw in variants.controls_of(variant.name)]
    sides = {effect.side for effect in draws if effect is not None}
    if not sides or NOT_JUDGED in sides:
        return NOT_JUDGED
    return sides.pop() if len(sides) == 1 else WITHIN


@lru_cache(maxsize=8)
def _resamples(n_sentences: int) -> NDArray[np.float64]:
    """How often each sentence is drawn in each resample, [RESAMPLES, S]."""
    rng = np.random.default_rng(SEED)
    drawn = rng.multinomial(n_sentences, np.full(n_sentences, 1 / n_sentences), size=RESAMPLES)
    return drawn.astype(np.float64)
