"""Stage 4: perplexity of the base model and of every variant on the held-out sentences of every language."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.variant_name import BASE, VariantName
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.subject import Subject
from polyneuron.pipelines.run.units import perplexity_unit, sentences_hash
from polyneuron.pipelines.stages.detectors import Detections
from polyneuron.pipelines.stages.evaluation import Judged, deactivated
from polyneuron.pipelines.stages.selection import Selected, Variant


def ablate(subject: Subject, store: Store, run_id: str, selected: Selected) -> dict[VariantName, str]:
    """Measures the variants whose unit is missing, `variants_per_pass` at once; returns the unit of each.

    A variant whose set is empty is the base model; it is not measured, and its metrics are null.
    """
    like = selected.selection.shared
    base = Variant(BASE, NeuronSet.empty(like.model, like.widths, like.n_layers))
    return _deactivate(subject, store, run_id, selected.name, selected.unit, (base, *selected.variants))


def ablate_detected(
    subject: Subject, store: Store, run_id: str, detections: Detections, base: str
) -> list[str]:
    """Perplexity in every language without each set a detector found; returns the units.

    Deactivated neurons give the same model, bit for bit, as their activations set to zero (paper B, figures 20 to 24),
    and `WeightEdit` runs wherever the sets of impacts do. The rows of the base model (of unit `base`) are repeated
    under each detector's selection, so that it can be read alone; they are not measured again.
    """
    units = []
    for found in detections.found:
        copied = _unit(subject, found.unit, BASE, "none")
        if not store.has("perplexities", copied):
            rows = store.read("perplexities", [("model", "=", subject.name), ("unit", "=", base)])
            rows = rows.drop_columns(["run_id", "unit", "selection"])
            where = {"model": subject.name, "selection": found.name}
            store.write("perplexities", rows, copied, where, run_id=run_id)
        measured = _deactivate(subject, store, run_id, found.name, found.unit, found.variants)
        units += [copied, *measured.values()]
    return units


def measure_tuned(
    subject: Subject, store: Store, run_id: str, selected: Selected, tuned: Sequence[Judged]
) -> dict[VariantName, str]:
    """Perplexity of trained variants on the same held-out sentences; returns the unit of each."""
    units = {
        variant.name: _unit(subject, selected.unit, variant.name, variant.fingerprint) for variant in tuned
    }
    _measure_missing(subject, store, run_id, selected.name, tuned, units)
    return units


def _unit(subject: Subject, selection: str, variant: VariantName, change: str) -> str:
    settings = subject.config.ablation
    heldout = [sentence for sentences in subject.heldout.values() for sentence in sentences]
    return perplexity_unit(
        selection,
        str(variant),
        change,
        sentences_hash(heldout),
        subject.model.dtype,
        settings.batch_size,
        settings.through,
    )


def _deactivate(
    subject: Subject, store: Store, run_id: str, name: str, selection: str, variants: Sequence[Variant]
) -> dict[VariantName, str]:
    """The unit of each variant that is not empty, all measured; name and unit of the selection they belong to."""
    wanted = [variant for variant in variants if variant.name == BASE or len(variant.neurons)]
    for empty in (variant.name for variant in variants if variant not in wanted):
        say(f"  {empty} is empty: nothing to deactivate, so it has no perplexity")
    units = {
        variant.name: _unit(subject, selection, variant.name, variant.neurons.fingerprint())
        for variant in wanted
    }
    _measure_missing(subject, store, run_id, name, [deactivated(variant) for variant in wanted], units)
    return units


def _measure_missing(
    subject: Subject,
    store: Store,
    run_id: str,
    selection: str,
    variants: Sequence[Judged],
    units: dict[VariantName, str],
) -> None:
    missing = set(store.missing("perplexities", units.values()))
    todo, at_once = (
        [v for v in variants if units[v.name] in missing],
        subject.config.ablation.variants_per_pass,
    )
    for start in range(0, len(todo), at_once):
        part = todo[start : start + at_once]
        title = f"perplexity, variants {start + 1} to {start + len(part)} of {len(todo)}"
        _measure(subject, store, run_id, selection, part, units, title)
    if variants and not todo:
        say(f"  perplexity: all variants of {selection} are in the store")


def _measure(
    subject: Subject,
    store: Store,
    run_id: str,
    selection: str,
    variants: Sequence[Judged],
    units: dict[VariantName, str],
    title: str,
) -> None:
    from polyneuron.neuron_core.measures.perplexity import sentence_nlls
    from polyneuron.neuron_core.passes.batches import micro_batches

    heldout = [sentence for sentences in subject.heldout.values() for sentence in sentences]
    edits = [variant.change for variant in variants]
    if subject.config.ablation.through == "engine":
        by_rank = [subject.judge().call("sentence_nlls", edits, heldout)]
    else:
        batches = micro_batches(heldout, subject.config.ablation.batch_size)
        by_rank = subject.run(title, sentence_nlls, batches, edits=edits)
    for index, variant in enumerate(variants):
        rows = sorted(
            (row for rank in by_rank for row in rank[index]), key=lambda row: (row.language, row.sentence)
        )
        table = pa.table(
            {
                "model": [subject.name] * len(rows),
                "selection": [selection] * len(rows),
                **{
                    column: pa.array([value] * len(rows), pa.int64() if column == "seed" else pa.string())
                    for column, value in variant.name.columns().items()
                },
                "n_neurons": [variant.n_neurons] * len(rows),
                "language": [row.language for row in rows],
                "sentence": [row.sentence for row in rows],
                "nll_nats": [row.nll_nats for row in rows],
                "n_tokens": [row.n_tokens for row in rows],
            }
        )
        where = {"model": subject.name, "selection": selection}
        store.write("perplexities", table, units[variant.name], where, run_id=run_id)
    say(f"  measured {', '.join(str(variant.name) for variant in variants)}")
