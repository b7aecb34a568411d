"""Stage 2: impacts of every neuron for every language, one unit of work a language."""

from __future__ import annotations

from polyneuron.eval.store.store import Store
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.subject import Subject
from polyneuron.pipelines.run.units import detection_unit, sentences_hash


def detection_units(subject: Subject, floor_fraction: float) -> dict[str, str]:
    """The unit of each language. `subject` has its sentences."""
    detection = subject.config.detection.model_dump()
    return {
        language: detection_unit(
            subject.name,
            subject.fingerprint,
            subject.model.dtype,
            language,
            sentences_hash(sentences),
            detection,
            floor_fraction,
        )
        for language, sentences in subject.detection.items()
    }


def detect(subject: Subject, store: Store, run_id: str, floor_fraction: float) -> dict[str, str]:
    """Measures the languages whose unit is missing; returns every language's unit.

    Raises:
        ModelError: impacts that are not finite. ClusterError: workers that cannot be kept alive.
    """
    units = detection_units(subject, floor_fraction)
    missing = set(store.missing("detections", units.values()))
    for language, unit in units.items():
        if unit in missing:
            _detect_language(subject, store, run_id, language, unit, floor_fraction)
    if not missing:
        say("  detection: all languages are in the store")
    return units


def _detect_language(
    subject: Subject, store: Store, run_id: str, language: str, unit: str, floor_fraction: float
) -> None:
    from polyneuron.neuron_core.impacts.detect import (
        Accumulated,
        Candidates,
        detect_language,
        detection_pass,
        merge_passes,
    )
    from polyneuron.neuron_core.passes.batches import MicroBatch

    settings, sentences = subject.config.detection, subject.detection[language]

    def run_pass(batches: list[MicroBatch], candidates: Candidates | None) -> Accumulated:
        title = f"detecting {language}, {sum(len(batch.sentences) for batch in batches)} sentences"
        results = subject.run(title, detection_pass, batches, groups=settings.groups, candidates=candidates)
        return merge_passes(results)

    found = detect_language(
        run_pass,
        sentences,
        settings.groups,
        settings.mode,
        settings.batch_size,
        floor_fraction=floor_fraction,
    )
    partitions = {"model": subject.name, "language": language}
    store.write("impacts", found.impacts, unit, partitions, run_id=run_id)
    store.write(
        "detections", found.summary, unit, partitions, run_id=run_id
    )  # last: it marks the unit as done
    say(f"  detected {language}: {found.impacts.num_rows:,} neurons over {len(sentences)} sentences")
