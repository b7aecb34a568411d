"""Stage 3a: activation statistics of every ffn neuron in all languages, one unit of work a site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.pipelines.config.study import ActivationSite
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.subject import Subject
from polyneuron.pipelines.run.units import activations_unit, sentences_hash

if TYPE_CHECKING:
    from polyneuron.neuron_core.activations.table import ActivationTable
    from polyneuron.neuron_core.passes.batches import MicroBatch


def activation_units(subject: Subject) -> dict[ActivationSite, str]:
    """The unit of each site that is asked for. `subject` has its sentences."""
    corpora = {language: sentences_hash(sentences) for language, sentences in subject.detection.items()}
    return {
        site: activations_unit(
            subject.name,
            subject.fingerprint,
            subject.model.dtype,
            site,
            corpora,
            subject.config.detection.batch_size,
        )
        for site in subject.config.activations.sites
    }


def measure_activations(subject: Subject, store: Store, run_id: str) -> dict[ActivationSite, str]:
    """Measures the sites whose unit is missing, on the detection sentences; returns every site's unit.

    The statistics of one site, some 200 bytes for each language and neuron, are in the driver's memory at once, as
    detectors need them whole; sketches never are (`cluster.ranks.activations`). The hidden states of all languages' sentences
    wait on the workers.

    Raises:
        ModelError: an activation that is not finite. CorpusError: a language without a token to count, or with too
            many. ClusterError: workers that cannot be kept alive.
    """
    units = activation_units(subject)
    missing = set(store.missing("activations", units.values()))
    for site, unit in units.items():
        if unit in missing:
            table, where = _measured(subject, site).to_arrow(), {"model": subject.name, "site": site}
            store.write("activations", table, unit, where, run_id=run_id)
            say(f"  activations at {site}: {table.num_rows:,} neurons in {len(subject.detection)} languages")
    if not missing:
        say("  activations: all statistics are in the store")
    return units


def stored_activations(subject: Subject, store: Store, site: ActivationSite, unit: str) -> ActivationTable:
    """The statistics of a finished unit."""
    from polyneuron.neuron_core.activations.table import ActivationTable

    filters = [("model", "=", subject.name), ("site", "=", site), ("unit", "=", unit)]
    return ActivationTable.from_arrow(store.read("activations", filters))


def _measured(subject: Subject, site: ActivationSite) -> ActivationTable:
    from polyneuron.cluster.ranks.activations import statistics_pass
    from polyneuron.neuron_core.activations.table import ActivationTable
    from polyneuron.neuron_core.passes.batches import micro_batches

    batches: list[MicroBatch] = []
    for language, sentences in subject.detection.items():
        if not any(sentence.n_scored for sentence in sentences):
            raise CorpusError(f"The corpus of {language!r} has no token to count; give it longer sentences")
        batches += micro_batches(sentences, subject.config.detection.batch_size)
    languages = tuple(subject.detection)
    by_rank = subject.run(
        f"activations at {site}, {sum(len(batch.sentences) for batch in batches)} sentences",
        statistics_pass,
        batches,
        languages=languages,
        site=site,
    )
    layers = {layer: found for rank in by_rank for layer, found in rank.items()}
    return ActivationTable.build(subject.name, site, languages, [layers[layer] for layer in sorted(layers)])
