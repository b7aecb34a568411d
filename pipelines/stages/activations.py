"""Activation statistics of every ffn neuron in all languages, one unit of work a site: part of the stage activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from polyneuron.neuron_core.activations.names import Site
from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.pipelines.run.ledger import Ledger, stage_unit
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.sentences import Sentences, sentences_hash
from polyneuron.pipelines.run.slot import Workers
from polyneuron.pipelines.run.studied_model import StudiedModel

if TYPE_CHECKING:
    from polyneuron.neuron_core.activations.table import ActivationTable
    from polyneuron.neuron_core.passes.batches import MicroBatch


def measure_activations(
    ledger: Ledger,
    model: StudiedModel,
    sentences: Sentences,
    workers: Workers,
    *,
    sites: Sequence[Site],
    batch_size: int,
) -> dict[Site, str]:
    """Measures the sites whose unit is missing, on the detection sentences; returns every site's unit.

    The statistics of one site, some 200 bytes for each language and neuron, are in the driver's memory at once, as
    detectors need them whole; sketches never are (`cluster.ranks.activations`). The hidden states of all languages' sentences
    wait on the workers.

    Raises:
        ModelError: an activation that is not finite. CorpusError: a language without a token to count, or with too
            many. ClusterError: workers that cannot be kept alive.
    """
    corpora = [[language, sentences_hash(read)] for language, read in sentences.detection.items()]
    units = {
        site: stage_unit("activations", **model.deciding(), site=site, corpora=corpora, batch_size=batch_size)
        for site in sites
    }
    missing = ledger.missing("activations", units.values())
    for site, unit in units.items():
        if unit in missing:
            table = _measured(model, sentences, workers, site, batch_size).to_arrow()
            ledger.put("activations", unit, table, site=site)
            say(f"  activations at {site}: {table.num_rows:,} neurons in {len(corpora)} languages")
    if not missing:
        say("  activations: all statistics are in the store")
    return units


def stored_activations(ledger: Ledger, site: Site, unit: str) -> ActivationTable:
    """The statistics of a finished unit."""
    from polyneuron.neuron_core.activations.table import ActivationTable

    return ActivationTable.from_arrow(ledger.read("activations", [unit], site=site))


def _measured(
    model: StudiedModel, sentences: Sentences, workers: Workers, site: Site, batch_size: int
) -> ActivationTable:
    from polyneuron.cluster.ranks.activations import statistics_pass
    from polyneuron.neuron_core.activations.table import ActivationTable
    from polyneuron.neuron_core.passes.batches import micro_batches

    batches: list[MicroBatch] = []
    for language, read in sentences.detection.items():
        if not any(sentence.n_scored for sentence in read):
            raise CorpusError(f"The corpus of {language!r} has no token to count; give it longer sentences")
        batches += micro_batches(read, batch_size)
    by_rank = workers.run(
        f"activations at {site}, {sum(len(batch.sentences) for batch in batches)} sentences",
        statistics_pass,
        batches,
        languages=sentences.languages,
        site=site,
    )
    layers = {layer: statistics for rank in by_rank for layer, statistics in rank.items()}
    in_order = [layers[layer] for layer in sorted(layers)]
    return ActivationTable.build(model.label, site, sentences.languages, in_order)
