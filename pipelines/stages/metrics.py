"""Stage 5: equations 4 to 6 with bootstrap intervals, from the perplexities in the store."""

from __future__ import annotations

from dataclasses import asdict

import pyarrow as pa
import pyarrow.compute as pc

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.measures.language_agnostic import LanguageLosses, Losses, measures_of
from polyneuron.neuron_core.sets.variant_name import BASE, SHARED, VariantName, exclusive
from polyneuron.pipelines.run.subject import Subject
from polyneuron.pipelines.run.units import metrics_unit
from polyneuron.pipelines.stages.selection import Selected


def compute_metrics(
    subject: Subject, store: Store, run_id: str, selected: Selected, perplexities: dict[VariantName, str]
) -> str:
    """Writes the table metrics; returns its unit."""
    settings, seed = subject.config.ablation, subject.config.seed
    unit = metrics_unit(list(perplexities.values()), settings.n_bootstrap, seed)
    if store.has("metrics", unit):
        return unit
    wanted = [BASE, SHARED, *map(exclusive, subject.config.languages)]
    units = [perplexities[name] for name in wanted if name in perplexities]
    losses = store.read("perplexities", pc.field("unit").isin(units))
    languages = {
        language: LanguageLosses(
            base=_losses(losses, BASE, language),
            shared=_losses(losses, SHARED, language) if SHARED in perplexities else None,
            exclusive=_losses(losses, exclusive(language), language)
            if exclusive(language) in perplexities
            else None,
            n_exclusive=len(selected.selection.exclusive[language]),
        )
        for language in subject.config.languages
    }
    estimates = measures_of(len(selected.selection.shared), languages, settings.n_bootstrap, seed)
    rows = [{"model": subject.name, "selection": selected.name, **asdict(estimate)} for estimate in estimates]
    table = pa.Table.from_pylist(rows)
    store.write("metrics", table, unit, {"model": subject.name, "selection": selected.name}, run_id=run_id)
    return unit


def _losses(table: pa.Table, variant: VariantName, language: str) -> Losses:
    rows = table.filter((pc.field("variant") == str(variant)) & (pc.field("language") == language))
    return Losses.from_columns(
        *(rows.column(name).to_numpy() for name in ("sentence", "nll_nats", "n_tokens"))
    )
