"""Equations 4, 5 and 6 of paper A, with bootstrap intervals over sentences. A value that has no meaning is null, with why.

Shapes: S held-out sentences of a language, B bootstrap resamples. Perplexity is exp(sum of NLL in nats / sum of predicted
tokens), so its logarithm is the mean NLL; `ppl` metrics use its change, `nll` metrics the change of its logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import xxhash

from polyneuron.neuron_core.common.errors import SetError

Reals = npt.NDArray[np.float64]
Change = Literal["ppl", "nll"]
CHANGES: tuple[Change, ...] = get_args(Change)
N_BOOTSTRAP = 1000
_TAIL = 0.025
"""Share of resamples beyond each end of an interval: 95% intervals."""

SHARED_EMPTY = "the shared set is empty"
EXCLUSIVE_EMPTY = "the exclusive set is empty"
NO_LOSS = "removing the exclusive set does not raise perplexity"
NOT_FINITE = "a likelihood is not finite, or the change of perplexity overflows"


@dataclass(frozen=True)
class Value:
    """A number, or None and the reason why there is none."""

    value: float | None
    null_reason: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """One metric with its 95% interval: the columns of the store's table metrics."""

    metric: str
    """What is measured: shared_ratio, imp_ppl and imp_nll, language_agnostic_score_ppl and _nll."""
    language: str | None
    """None where it is of the whole model."""
    value: float | None
    """The measured value; None where it has no meaning."""
    low: float | None = None
    """Lower end of the interval; None where there is no interval, or where this end is open."""
    high: float | None = None
    """Upper end, likewise."""
    null_reason: str | None = None
    """Why value is None; beside a value, what an open end or a language left out is due to."""
    n_bootstrap: int | None = None
    """Resamples; None where nothing was resampled."""
    seed: int | None = None
    """Seed of the resamples; None where nothing was resampled."""


@dataclass(frozen=True)
class Losses:
    """One variant on the held-out sentences of one language, by ascending sentence number. Made by `from_columns`."""

    sentence: npt.NDArray[np.int64]
    """int64 [S], the numbers of the sentences."""
    nll_nats: Reals
    """float64 [S], negative log-likelihood summed over the predicted tokens."""
    n_tokens: npt.NDArray[np.int64]
    """int64 [S], the predicted tokens."""

    @classmethod
    def from_columns(
        cls, sentence: npt.ArrayLike, nll_nats: npt.ArrayLike, n_tokens: npt.ArrayLike
    ) -> Losses:
        """From equally long columns, in any order. Raises SetError when there is no predicted token, or a repeat."""
        sentences = np.asarray(sentence, np.int64)
        order = np.argsort(sentences, kind="stable")
        losses = cls(
            sentences[order], np.asarray(nll_nats, np.float64)[order], np.asarray(n_tokens, np.int64)[order]
        )
        if losses.n_tokens.sum() <= 0:
            raise SetError("A metric needs at least one sentence with a predicted token")
        if (np.diff(losses.sentence) == 0).any():
            raise SetError("A sentence occurs twice in the losses of one variant and language")
        return losses


@dataclass(frozen=True)
class LanguageLosses:
    """What Eq. 5 needs of one language."""

    base: Losses
    """The base model."""
    shared: Losses | None
    """The model without the shared set; None where that is empty."""
    exclusive: Losses | None
    """The model without the language's own exclusive set; None where that is empty."""
    n_exclusive: int
    """Neurons of the exclusive set."""


def shared_ratio(n_shared: int, n_exclusive: Mapping[str, int]) -> Value:
    """Eq. 4: |shared| / (mean over languages of |exclusive|). Null when every exclusive set is empty."""
    total = sum(n_exclusive.values())
    if total == 0:
        return Value(None, "every exclusive set is empty")
    return Value(n_shared * len(n_exclusive) / total)


def importance(delta_shared: float, n_shared: int, delta_exclusive: float, n_exclusive: int) -> Value:
    """Eq. 5: (delta_shared / |shared|) / (delta_exclusive / |exclusive|), deltas of perplexity or of its logarithm. Null
    when a set is empty, a delta is not finite, or delta_exclusive <= 0: then the quotient has no meaning. Negative when
    removing the shared set helps."""
    if n_shared == 0:
        return Value(None, SHARED_EMPTY)
    if n_exclusive == 0:
        return Value(None, EXCLUSIVE_EMPTY)
    if not (math.isfinite(delta_shared) and math.isfinite(delta_exclusive)):
        return Value(None, NOT_FINITE)
    if delta_exclusive <= 0:
        return Value(None, NO_LOSS)
    quotient = (delta_shared / n_shared) / (delta_exclusive / n_exclusive)
    return Value(quotient) if math.isfinite(quotient) else Value(None, NOT_FINITE)


def language_agnostic_score(importances: Mapping[str, Value]) -> Value:
    """Eq. 6: log(1 + mean over languages of Eq. 5), in nats. Languages whose importance is null are left out of the mean
    and named in null_reason. Null when none is left, or when the mean is at most -1."""
    known = [value.value for value in importances.values() if value.value is not None]
    left_out = "; ".join(
        f"{language}: {v.null_reason}" for language, v in importances.items() if v.value is None
    )
    if not known:
        return Value(None, f"no language has an importance ({left_out or 'no language was measured'})")
    mean = math.fsum(known) / len(known)
    if mean <= -1:
        return Value(
            None, f"the mean importance is {mean:.3g}, and the logarithm of 1 + {mean:.3g} does not exist"
        )
    return Value(
        math.log1p(mean),
        f"mean over {len(known)} of {len(importances)} languages ({left_out})" if left_out else None,
    )


def measures_of(
    n_shared: int, languages: Mapping[str, LanguageLosses], n_bootstrap: int = N_BOOTSTRAP, seed: int = 0
) -> list[Estimate]:
    """All metrics of one selection: Eq. 4 and 6 of the model, Eq. 5 of each language. Intervals are 95% percentile
    intervals over `n_bootstrap` resamples of each language's sentences; base, shared and exclusive see the same resample.
    They depend on the seed and the language's name, not on the order of languages. Raises SetError when the variants of a
    language were not measured on the same sentences."""
    ratio = shared_ratio(n_shared, {language: losses.n_exclusive for language, losses in languages.items()})
    estimates = [_estimate("shared_ratio", None, ratio, np.zeros(0), seed)]
    drawn = {
        language: _log_changes(language, losses, n_bootstrap, seed) for language, losses in languages.items()
    }
    for change in CHANGES:
        values, draws = {}, {}
        for language, (shared, exclusive) in drawn.items():
            n_exclusive = languages[language].n_exclusive
            values[language] = _value(shared[0], n_shared, exclusive[0], n_exclusive, change)
            draws[language] = _draws(shared[1:], n_shared, exclusive[1:], n_exclusive, change)
            estimates.append(_estimate(f"imp_{change}", language, values[language], draws[language], seed))
        score = language_agnostic_score(values)
        used = [draws[language] for language, value in values.items() if value.value is not None]
        estimates.append(
            _estimate(f"language_agnostic_score_{change}", None, score, _score_draws(used), seed)
        )
    return estimates


def _log_changes(language: str, losses: LanguageLosses, n_bootstrap: int, seed: int) -> tuple[Reals, Reals]:
    """Changes of log perplexity without the shared and without the exclusive set, [1 + B]: the data, then resamples. One
    sentence cannot be resampled, so then the resamples are NaN."""
    base = losses.base
    generator = np.random.default_rng([seed, xxhash.xxh3_64_intdigest(language.encode())])
    n = len(base.sentence)
    picks = generator.integers(0, n, (n_bootstrap, n)) + n * np.arange(n_bootstrap)[:, None]
    times = np.bincount(picks.reshape(-1), minlength=n * n_bootstrap).reshape(n_bootstrap, n)
    weights = np.concatenate([np.ones((1, n)), times])
    with np.errstate(invalid="ignore", divide="ignore"):
        n_tokens = weights @ base.n_tokens

        def change(edited: Losses | None) -> Reals:
            if edited is None:
                return np.full(1 + n_bootstrap, np.nan)
            if not (
                np.array_equal(edited.sentence, base.sentence)
                and np.array_equal(edited.n_tokens, base.n_tokens)
            ):
                raise SetError(
                    f"{language}: the variants were not measured on the same sentences; measure them again together"
                )
            changes = np.asarray(weights @ (edited.nll_nats - base.nll_nats) / n_tokens, np.float64)
            return changes if n > 1 else np.where(np.arange(1 + n_bootstrap) == 0, changes, np.nan)

        return change(losses.shared), change(losses.exclusive)


def _value(shared: float, n_shared: int, exclusive: float, n_exclusive: int, change: Change) -> Value:
    """Eq. 5. The base perplexity cancels: the change of perplexity is PPL * (exp(change of its logarithm) - 1)."""
    with np.errstate(over="ignore"):
        deltas = (
            (shared, exclusive) if change == "nll" else (float(np.expm1(shared)), float(np.expm1(exclusive)))
        )
    return importance(deltas[0], n_shared, deltas[1], n_exclusive)


def _draws(shared: Reals, n_shared: int, exclusive: Reals, n_exclusive: int, change: Change) -> Reals:
    """Eq. 5 of each resample [B]; infinite where the exclusive set does no harm, since the quotient grows without bound."""
    if n_shared == 0 or n_exclusive == 0:
        return np.full(len(shared), np.nan)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if change == "ppl":
            shared, exclusive = np.expm1(shared), np.expm1(exclusive)
        quotient = (shared / n_shared) / (np.maximum(exclusive, 0.0) / n_exclusive)
    return np.asarray(quotient, np.float64)


def _score_draws(draws: list[Reals]) -> Reals:
    if not draws:
        return np.zeros(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.mean(draws, axis=0)
        return np.asarray(np.where(mean <= -1, -np.inf, np.log1p(mean)), np.float64)


def _estimate(metric: str, language: str | None, value: Value, draws: Reals, seed: int) -> Estimate:
    if value.value is None or len(draws) == 0:
        return Estimate(metric=metric, language=language, value=value.value, null_reason=value.null_reason)
    at = math.floor(_TAIL * len(draws))
    low = float(np.sort(np.where(np.isnan(draws), -np.inf, draws))[at])
    high = float(np.sort(np.where(np.isnan(draws), np.inf, draws))[len(draws) - 1 - at])
    n_open = int((~np.isfinite(draws)).sum())
    reasons = [value.null_reason] if value.null_reason else []
    if not (math.isfinite(low) and math.isfinite(high)):
        reasons.append(f"the interval is open: {n_open} of {len(draws)} resamples have no finite value")
    ends = [end if math.isfinite(end) else None for end in (low, high)]
    return Estimate(
        metric=metric,
        language=language,
        value=value.value,
        low=ends[0],
        high=ends[1],
        null_reason="; ".join(reasons) or None,
        n_bootstrap=len(draws),
        seed=seed,
    )
