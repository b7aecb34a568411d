"""Stage noise floor: how large the selected sets are by chance and how stable (one unit), from impacts on single sentences."""

from collections.abc import Sequence
from typing import Any

from polyneuron.neuron_core.impacts.per_sentence import Measured, sentence_impacts, sentence_pass
from polyneuron.neuron_core.passes.batches import MicroBatch
from polyneuron.neuron_core.selection.noise_floor import N_HALVINGS, N_PERMUTATIONS, noise_floor_of
from polyneuron.pipelines.config.study import DetectionConfig
from polyneuron.pipelines.run.ledger import Ledger, stage_unit
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.slot import Workers
from polyneuron.pipelines.stages.corpora import Sentences, sentences_hash
from polyneuron.pipelines.stages.detection import PerSentence, Selected, sentence_bytes


def measure_noise_floor(
    ledger: Ledger,
    sentences: Sentences,
    workers: Workers,
    selected: Selected,
    *,
    detection: DetectionConfig,
    seed: int,
    kept: PerSentence | None,
) -> None:
    """Stores the noise floor of a selection where it is missing. Under `auto`, what takes too much memory is said and left.
    `kept`: what detection has measured on single sentences in this run; other languages are measured, and all are let go.

    Raises:
        ModelError, CorpusError, ClusterError: as detection.
    """
    rule, n_bytes = selected.selection.rule, sentence_bytes(workers.model, sentences, detection)
    if not detection.wants_noise_floor(n_bytes):
        say(
            f"  the noise floor was not measured: impacts on every sentence take {n_bytes / 2**30:.1f} GiB of "
            "the driver's memory; set detection.noise_floor=on to measure it"
        )
        return
    unit = stage_unit(
        "noise_floor",
        **workers.model.deciding(),
        corpora=[[language, sentences_hash(read)] for language, read in sentences.detection.items()],
        groups=list(detection.groups),
        batch_size=detection.batch_size,
        rule=rule.describe(),
        draws=[N_HALVINGS, N_PERMUTATIONS, seed],
    )
    if ledger.done("noise_floor", unit):
        say("  the noise floor is in the store")
        return

    def run_pass(batches: Sequence[MicroBatch]) -> list[Measured]:
        language = batches[0].sentences[0].language
        if kept and language in kept:
            return kept.pop(language)
        return workers.run(f"noise floor, {language}", sentence_pass, batches, groups=detection.groups)

    impacts = sentence_impacts(run_pass, sentences.detection, detection.batch_size)
    table = noise_floor_of(impacts, rule, seed=seed)
    ledger.put("noise_floor", unit, table)
    for row in table.to_pylist():
        if row["kind"] == "exclusive" and row["language"] is None:
            say(_in_a_line(row))


def _in_a_line(exclusive: dict[str, Any]) -> str:
    if exclusive["chance_size"] is None:
        return f"  no noise floor: {exclusive['null_reason']}"
    return (
        f"  exclusive neurons, mean over languages: {exclusive['n_neurons']:.0f}, by chance {exclusive['chance_size']:.0f} "
        f"[{exclusive['chance_low']:.0f}, {exclusive['chance_high']:.0f}]"
    )
