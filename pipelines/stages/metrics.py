"""Stage metrics: equations 4 to 6 with bootstrap intervals, from the perplexities in the store."""

from collections.abc import Mapping
from dataclasses import asdict

import pyarrow as pa
import pyarrow.compute as pc

from polyneuron.neuron_core.measures.language_agnostic import LanguageLosses, Losses, measures_of
from polyneuron.neuron_core.sets.variant_name import BASE, SHARED, VariantName, exclusive
from polyneuron.pipelines.run.ledger import Ledger, stage_unit
from polyneuron.pipelines.stages.detection import Selected


def compute_metrics(
    ledger: Ledger, selected: Selected, perplexities: Mapping[VariantName, str], n_bootstrap: int, seed: int
) -> str:
    """Writes the table metrics; returns its unit. `perplexities`: the unit of each variant that was measured."""
    unit = stage_unit("metrics", perplexities=list(perplexities.values()), n_bootstrap=n_bootstrap, seed=seed)
    if ledger.done("metrics", unit):
        return unit
    sets = selected.selection
    names = [BASE, SHARED, *map(exclusive, sets.exclusive)]
    stored = ledger.read("perplexities", [perplexities[name] for name in names if name in perplexities])

    def losses(variant: VariantName, language: str) -> Losses | None:
        if variant not in perplexities:
            return None
        of_both = (pc.field("variant") == str(variant)) & (pc.field("language") == language)
        rows: pa.Table = stored.filter(of_both)
        columns = (rows.column(name).to_numpy() for name in ("sentence", "nll_nats", "n_tokens"))
        return Losses.from_columns(*columns)

    languages = {}
    for language, own in sets.exclusive.items():
        base = losses(BASE, language)
        assert base is not None
        languages[language] = LanguageLosses(
            base=base,
            shared=losses(SHARED, language),
            exclusive=losses(exclusive(language), language),
            n_exclusive=len(own),
        )
    estimates = measures_of(len(sets.shared), languages, n_bootstrap, seed)
    rows = [{"selection": selected.name, **asdict(estimate)} for estimate in estimates]
    ledger.put("metrics", unit, rows, selection=selected.name)
    return unit
