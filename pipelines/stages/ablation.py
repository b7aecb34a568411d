"""Stage 4: perplexity of the base model and of every variant on the held-out sentences of every language."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from eval.store import Store
from neuron_core.neuron_set import NeuronSet
from pipelines.progress import say
from pipelines.stages.evaluation import Judged, deactivated
from pipelines.stages.selection import Selected, Variant
from pipelines.subject import Subject
from pipelines.units import perplexity_unit, sentences_hash


def ablate(subject: Subject, store: Store, run_id: str, selected: Selected) -> dict[str, str]:
    """Measures the variants whose unit is missing, `variants_per_pass` at once; returns the unit of each.

    A variant whose set is empty is the base model; it is not measured, and its metrics are null.
    """
    settings = subject.config.ablation
    heldout = [sentence for sentences in subject.heldout.values() for sentence in sentences]
    corpus = sentences_hash(heldout)
    base = Variant("base", "base", _empty(selected.selection.shared))
    variants = [base, *(variant for variant in selected.variants if len(variant.neurons))]
    units = {
        variant.name: perplexity_unit(
            selected.unit,
            variant.name,
            variant.neurons.fingerprint(),
            corpus,
            subject.model.dtype,
            settings.batch_size,
            settings.through,
        )
        for variant in variants
    }
    missing = set(store.missing("perplexities", units.values()))
    todo = [variant for variant in variants if units[variant.name] in missing]
    for empty in (variant.name for variant in selected.variants if not len(variant.neurons)):
        say(f"  {empty} is empty: nothing to deactivate, its metrics are null")
    for start in range(0, len(todo), settings.variants_per_pass):
        part = [deactivated(variant) for variant in todo[start : start + settings.variants_per_pass]]
        title = f"perplexity, variants {start + 1} to {start + len(part)} of {len(todo)}"
        _measure(subject, store, run_id, selected, part, units, title)
    if not todo:
        say("  perplexity: all variants are in the store")
    return units


def measure_tuned(
    subject: Subject, store: Store, run_id: str, selected: Selected, tuned: Sequence[Judged]
) -> dict[str, str]:
    """Perplexity of trained variants on the same held-out sentences; returns the unit of each."""
    heldout = [sentence for sentences in subject.heldout.values() for sentence in sentences]
    settings = subject.config.ablation
    units = {
        variant.name: perplexity_unit(
            selected.unit,
            variant.name,
            variant.fingerprint,
            sentences_hash(heldout),
            subject.model.dtype,
            settings.batch_size,
            settings.through,
        )
        for variant in tuned
    }
    missing = set(store.missing("perplexities", units.values()))
    todo = [variant for variant in tuned if units[variant.name] in missing]
    for start in range(0, len(todo), settings.variants_per_pass):
        part = todo[start : start + settings.variants_per_pass]
        _measure(subject, store, run_id, selected, part, units, "perplexity of trained variants")
    return units


def _measure(
    subject: Subject,
    store: Store,
    run_id: str,
    selected: Selected,
    variants: Sequence[Judged],
    units: dict[str, str],
    title: str,
) -> None:
    from neuron_core.batches import plan_batches
    from neuron_core.perplexity import sentence_nlls

    heldout = [sentence for sentences in subject.heldout.values() for sentence in sentences]
    edits = [variant.change for variant in variants]
    if subject.config.ablation.through == "engine":
        by_rank = [subject.judge().call("sentence_nlls", edits, heldout)]
    else:
        batches = plan_batches(heldout, subject.config.ablation.batch_size)
        by_rank = subject.run(title, sentence_nlls, batches, edits=edits)
    for index, variant in enumerate(variants):
        rows = sorted(
            (row for rank in by_rank for row in rank[index]), key=lambda row: (row.language, row.sentence)
        )
        table = pa.table(
            {
                "model": [subject.name] * len(rows),
                "selection": [selected.name] * len(rows),
                "variant": [variant.name] * len(rows),
                "kind": [variant.kind] * len(rows),
                "control_of": pa.array([variant.control_of] * len(rows), pa.string()),
                "set_language": pa.array([variant.set_language] * len(rows), pa.string()),
                "seed": pa.array([variant.seed] * len(rows), pa.int64()),
                "n_neurons": [variant.n_neurons] * len(rows),
                "language": [row.language for row in rows],
                "sentence": [row.sentence for row in rows],
                "nll_nats": [row.nll_nats for row in rows],
                "n_tokens": [row.n_tokens for row in rows],
            }
        )
        where = {"model": subject.name, "selection": selected.name}
        store.write("perplexities", table, units[variant.name], where, run_id=run_id)
    say(f"  measured {', '.join(variant.name for variant in variants)}")


def _empty(like: NeuronSet) -> NeuronSet:
    return NeuronSet.empty(like.model, like.widths, like.n_layers)
