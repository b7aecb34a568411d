"""What decides a result: the keys under which units of work are stored, so that none is done twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import xxhash

from polyneuron.eval.store.units import unit_key

DETECTION_VERSION = 1
ACTIVATIONS_VERSION = 1
PERPLEXITY_VERSION = 1
METRICS_VERSION = 1
EVALUATION_VERSION = 1
TRAINING_VERSION = 1
"""Raised when the mathematics of a stage changes, so that old units are not taken for new ones."""


def sentences_hash(sentences: Iterable[Any]) -> str:
    """Hash of token ids and of what is left unscored, in order."""
    digest = xxhash.xxh3_128()
    for sentence in sentences:
        digest.update(
            repr((sentence.language, sentence.index, sentence.token_ids, sentence.n_unscored)).encode()
        )
    return digest.hexdigest()


def detection_unit(
    model: str,
    fingerprint: str,
    dtype: str,
    language: str,
    corpus: str,
    detection: dict[str, Any],
    floor_fraction: float,
) -> str:
    """One language of one model."""
    return unit_key(
        stage="detect",
        version=DETECTION_VERSION,
        model=model,
        weights=fingerprint,
        dtype=dtype,
        language=language,
        corpus=corpus,
        groups=list(detection["groups"]),
        mode=detection["mode"],
        batch_size=detection["batch_size"],
        floor_fraction=floor_fraction if detection["mode"] == "certified" else None,
    )


def selection_unit(detections: Sequence[str], rule: dict[str, Any], controls: dict[str, int]) -> str:
    """One rule applied to the detections of all languages."""
    return unit_key(stage="select", detections=list(detections), rule=rule, controls=controls)


def activations_unit(
    model: str, fingerprint: str, dtype: str, site: str, corpora: dict[str, str], batch_size: int
) -> str:
    """Activation statistics of all languages at one site; `corpora`: a hash by language, pooled in this order."""
    return unit_key(
        stage="activations",
        version=ACTIVATIONS_VERSION,
        model=model,
        weights=fingerprint,
        dtype=dtype,
        site=site,
        corpora=[list(item) for item in corpora.items()],
        batch_size=batch_size,
    )


def detector_unit(activations: str, detector: dict[str, Any], n_controls: int) -> str:
    """The sets that one detector finds in activation statistics, with their controls."""
    return unit_key(
        stage="detectors",
        version=ACTIVATIONS_VERSION,
        activations=activations,
        detector=detector,
        controls=n_controls,
    )


def overlaps_unit(selection: str, detectors: Sequence[str]) -> str:
    """Overlaps of a selection's sets and those of detectors."""
    return unit_key(
        stage="overlaps", version=ACTIVATIONS_VERSION, selection=selection, detectors=list(detectors)
    )


def perplexity_unit(
    selection: str, variant: str, edit: str, heldout: str, dtype: str, batch_size: int, through: str
) -> str:
    """One variant on the held-out sentences of all languages, through the workers or the inference engine."""
    return unit_key(
        stage="ablate",
        version=PERPLEXITY_VERSION,
        selection=selection,
        variant=variant,
        edit=edit,
        heldout=heldout,
        dtype=dtype,
        batch_size=batch_size,
        through=through,
    )


def metrics_unit(perplexities: Sequence[str], n_bootstrap: int, seed: int) -> str:
    """Equations 4 to 6 of one selection."""
    return unit_key(
        stage="metrics",
        version=METRICS_VERSION,
        perplexities=list(perplexities),
        n_bootstrap=n_bootstrap,
        seed=seed,
    )


def training_unit(model: str, fingerprint: str, dtype: str, neurons: str, **settings: Any) -> str:
    """One trained set; `settings` is everything else that decides its values."""
    return unit_key(
        stage="train",
        version=TRAINING_VERSION,
        model=model,
        weights=fingerprint,
        dtype=dtype,
        neurons=neurons,
        **settings,
    )


def evaluation_unit(
    model: str, fingerprint: str, variant: str, change: str, night: str | None, **settings: Any
) -> str:
    """One variant on one benchmark in one language; `settings` is everything else that decides its scores."""
    return unit_key(
        stage="evaluate",
        version=EVALUATION_VERSION,
        model=model,
        weights=fingerprint,
        variant=variant,
        change=change,
        night=night,
        **settings,
    )


def verdicts_unit(
    pairs: Sequence[tuple[str, str]], evaluations: Sequence[str], alpha: float, min_effect: float, seed: int
) -> str:
    """Paired comparisons of variants over what the evaluation units hold."""
    return unit_key(
        stage="verdicts",
        version=EVALUATION_VERSION,
        pairs=[list(pair) for pair in pairs],
        evaluations=list(evaluations),
        alpha=alpha,
        min_effect=min_effect,
        seed=seed,
    )
