"""Equations 4, 5 and 6 of paper A, with bootstrap intervals over sentences. A value that has no meaning is
null, with why.

Shapes: S held-out sentences of a language, B bootstrap resamples. Perplexity is exp(sum of NLL in nats / sum
of predicted tokens), so its logarithm is the mean NLL; `ppl` metrics use its change, `nll` metrics the change
of its logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import xxhash

from polyneuron.neuron_core.common.errors import SetError

Reals = npt.NDArray[np.float64]
Change = Literal["ppl", "nll"]
CHANGES: tuple[Change, ...] = ("ppl", "nll")
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


@dataclass(frozen=True)
class Estimate:
    """One metric of a language (None: of the model) with its 95% interval.

    low, high: None where there is no interval, or where that end is open. null_reason: why value is None;
    beside a value, what an open end or a language left out is due to. n_bootstrap, seed: None where nothing
    was resampled.
    """

    metric: str
    language: str | None
    value: float | None
    low: float | None = None
    high: float | None = None
    null_reason: str | None = None
    n_bootstrap: int | None = None
    seed: int | None = None

    def as_row(self) -> dict[str, Any]:
        """The fields, as columns of the store's table metrics."""
        return asdict(self)


class _SentenceLoss(Protocol):
    @property
    def sentence(self) -> int: ...
    @property
    def nll_nats(self) -> float: ...
    @property
    def n_tokens(self) -> int: ...


@dataclass(frozen=True)
class Losses:
    """One variant on the held-out sentences of one language. sentence int64 [S], nll_nats float64 [S],
    n_tokens int64 [S].
    """

    sentence: npt.NDArray[np.int64]
    nll_nats: Reals
    n_tokens: npt.NDArray[np.int64]

    @classmethod
    def of(cls, rows: Iterable[_SentenceLoss]) -> Losses:
        """From the rows of `neuron_core.perplexity.sentence_nlls` for one language, in any order."""
        listed = sorted(rows, key=lambda row: row.sentence)
        return cls.from_columns(
            [row.sentence for row in listed],
            [row.nll_nats for row in listed],
            [row.n_tokens for row in listed],
        )

    @classmethod
    def from_columns(
        cls, sentence: npt.ArrayLike, nll_nats: npt.ArrayLike, n_tokens: npt.ArrayLike
    ) -> Losses:
        """From equally long columns, in any order. Raises SetError when there is no predicted token, or a
        repeat.
        """
        sentences = np.asarray(sentence, np.int64)
        order = np.argsort(sentences, kind="stable")
        found = cls(
            sentences[order], np.asarray(nll_nats, np.float64)[order], np.asarray(n_tokens, np.int64)[order]
        )
        if found.n_tokens.sum() <= 0:
            raise SetError("A metric needs at least one sentence with a predicted token")
        if (np.diff(found.sentence) == 0).any():
            raise SetError("A sentence occurs twice in the losses of one variant and language")
        return found

    def perplexity(self) -> float:
        """exp(sum of NLL / sum of predicted tokens); inf where that overflows."""
        with np.errstate(over="ignore"):
            return float(np.exp(self.nll_nats.sum() / self.n_tokens.sum()))


@dataclass(frozen=True)
class LanguageLosses:
    """What Eq. 5 needs of one language: the base model, and the model without the shared and without the
    language's own exclusive set (None where that set is empty)."""

    base: Losses
    shared: Losses | None
    exclusive: Losses | None
    n_exclusive: int


def shared_ratio(n_shared: int, n_exclusive: Mapping[str, int]) -> Value:
    """Eq. 4: |shared| / (mean over languages of |exclusive|). Null when every exclusive set is empty."""
    total = sum(n_exclusive.values())
    if total == 0:
        return Value(None, "every exclusive set is empty")
    return Value(n_shared * len(n_exclusive) / total)


def importance(delta_shared: float, n_shared: int, delta_exclusive: float, n_exclusive: int) -> Value:
    """Eq. 5: (delta_shared / |shared|) / (delta_exclusive / |exclusive|), deltas of perplexity or of its
    logarithm.

    Null when a set is empty, a delta is not finite, or delta_exclusive <= 0: then the quotient has no
    meaning. Negative when removing the shared set helps.
    """
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
    """Eq. 6: log(1 + mean over languages of Eq. 5), in nats.

    Languages whose importance is null are left out of the mean and named in null_reason. Null when none is
    left, or when the mean is at most -1.
    """
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


def evaluate(
    n_shared: int, languages: Mapping[str, LanguageLosses], n_bootstrap: int = N_BOOTSTRAP, seed: int = 0
) -> list[Estimate]:
    """All metrics of one selection: shared_ratio, imp_ppl and imp_nll by language, and
    language_agnostic_score_ppl and _nll.

    Intervals are 95% percentile intervals over `n_bootstrap` resamples of each language's sentences; base,
    shared and exclusive see the same resample. They depend on the seed and the language's name, not on the
    order of languages.

    Raises:
        SetError: the variants of a language were not measured on the same sentences.
    """
    ratio = shared_ratio(n_shared, {language: losses.n_exclusive for language, losses in languages.items()})
    found = [Estimate("shared_ratio", None, ratio.value, null_reason=ratio.null_reason)]
    drawn = {
        language: _log_changes(language, losses, n_bootstrap, seed) for language, losses in languages.items()
    }
    for change in CHANGES:
        values, draws = {}, {}
        for language, (shared, exclusive) in drawn.items():
            n_exclusive = languages[language].n_exclusive
            values[language] = _value(shared[0], n_shared, exclusive[0], n_exclusive, change)
            draws[language] = _draws(shared[1:], n_shared, exclusive[1:], n_exclusive, change)
            found.append(_estimate(f"imp_{change}", language, values[language], draws[language], seed))
        score = language_agnostic_score(values)
        used = [draws[language] for language, value in values.items() if value.value is not None]
        found.append(_estimate(f"language_agnostic_score_{change}", None, score, _score_draws(used), seed))
    return found


def _log_changes(language: str, losses: LanguageLosses, n_bootstrap: int, seed: int) -> tuple[Reals, Reals]:
    """Changes of log perplexity without the shared and without the exclusive set, [1 + B]: the data, then
    resamples.

    One sentence cannot be resampled, so then the resamples are NaN.
    """
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
                    f"{language}: the variants were not measured on the same sentences; measure them again "
                    "together"
                )
            changes = np.asarray(weights @ (edited.nll_nats - base.nll_nats) / n_tokens, np.float64)
            return changes if n > 1 else np.where(np.arange(1 + n_bootstrap) == 0, changes, np.nan)

        return change(losses.shared), change(losses.exclusive)


def _value(shared: float, n_shared: int, exclusive: float, n_exclusive: int, change: Change) -> Value:
    """Eq. 5. The base perplexity cancels: the change of perplexity is PPL * (exp(change of its logarithm) -
    1).
    """
    with np.errstate(over="ignore"):
        deltas = (
            (shared, exclusive) if change == "nll" else (float(np.expm1(shared)), float(np.expm1(exclusive)))
        )
    return importance(deltas[0], n_shared, deltas[1], n_exclusive)


def _draws(shared: Reals, n_shared: int, exclusive: Reals, n_exclusive: int, change: Change) -> Reals:
    """Eq. 5 of each resample [B]; infinite where the exclusive set does no harm, since the quotient grows
    without bound.
    """
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
        return Estimate(metric, language, value.value, null_reason=value.null_reason)
    at = math.floor(_TAIL * len(draws))
    low = float(np.sort(np.where(np.isnan(draws), -np.inf, draws))[at])
    high = float(np.sort(np.where(np.isnan(draws), np.inf, draws))[len(draws) - 1 - at])
    n_open = int((~np.isfinite(draws)).sum())
    reasons = [value.null_reason] if value.null_reason else []
    if not (math.isfinite(low) and math.isfinite(high)):
        reasons.append(f"the interval is open: {n_open} of {len(draws)} resamples have no finite value")
    ends = [end if math.isfinite(end) else None for end in (low, high)]
    return Estimate(
        metric, language, value.value, ends[0], ends[1], "; ".join(reasons) or None, len(draws), seed
    )


__all__ = [
    "CHANGES",
    "Estimate",
    "LanguageLosses",
    "Losses",
    "Value",
    "evaluate",
    "importance",
    "language_agnostic_score",
    "shared_ratio",
]
