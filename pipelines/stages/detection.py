"""Impacts of every neuron for every language, one unit of work a language: the first half of the stage detection."""

from __future__ import annotations

from polyneuron.pipelines.config.study import DetectionConfig
from polyneuron.pipelines.run.ledger import Ledger, stage_unit
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.sentences import Sentences, sentences_hash
from polyneuron.pipelines.run.slot import Workers
from polyneuron.pipelines.run.studied_model import StudiedModel


def detection_units(model: StudiedModel, sentences: Sentences, config: DetectionConfig) -> dict[str, str]:
    """The unit of each language."""
    return {
        language: stage_unit(
            "detect",
            **model.deciding(),
            language=language,
            corpus=sentences_hash(read),
            groups=list(config.groups),
            mode=config.mode,
            batch_size=config.batch_size,
            floor_fraction=config.floor_fraction if config.mode == "certified" else None,
        )
        for language, read in sentences.detection.items()
    }


def detect(
    ledger: Ledger, model: StudiedModel, sentences: Sentences, workers: Workers, config: DetectionConfig
) -> dict[str, str]:
    """Measures the languages whose unit is missing; returns every language's unit.

    Raises:
        ModelError: impacts that are not finite. ClusterError: workers that cannot be kept alive.
    """
    units = detection_units(model, sentences, config)
    missing = ledger.missing("detections", units.values())
    for language, unit in units.items():
        if unit in missing:
            _detect_language(ledger, unit, sentences, workers, config, language=language)
    if not missing:
        say("  detection: all languages are in the store")
    return units


def _detect_language(
    ledger: Ledger,
    unit: str,
    sentences: Sentences,
    workers: Workers,
    config: DetectionConfig,
    *,
    language: str,
) -> None:
    from polyneuron.neuron_core.impacts.detect import (
        Accumulated,
        Candidates,
        detect_language,
        detection_pass,
        merge_passes,
    )
    from polyneuron.neuron_core.passes.batches import MicroBatch

    def run_pass(batches: list[MicroBatch], candidates: Candidates | None) -> Accumulated:
        title = f"detecting {language}, {sum(len(batch.sentences) for batch in batches)} sentences"
        return merge_passes(
            workers.run(title, detection_pass, batches, groups=config.groups, candidates=candidates)
        )

    read = sentences.detection[language]
    measured = detect_language(
        run_pass,
        read,
        config.groups,
        mode=config.mode,
        batch_size=config.batch_size,
        floor_fraction=config.floor_fraction,
    )
    ledger.put("impacts", unit, measured.impacts, language=language)
    ledger.put("detections", unit, measured.summary, language=language)
    say(f"  detected {language}: {measured.impacts.num_rows:,} neurons over {len(read)} sentences")
