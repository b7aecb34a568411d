"""Paired verdicts on the benchmark scores of one model's variants: the end of the stage evaluation."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polyneuron.eval.verdicts.comparisons import METHOD, Pair, verdict_table, verdicts_of
from polyneuron.eval.verdicts.pairing import Items, grouped_by_variant
from polyneuron.neuron_core.sets.variant_name import BASE, VariantName
from polyneuron.pipelines.config.evaluation import EvaluationConfig
from polyneuron.pipelines.run.ledger import Ledger, stage_unit
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.stages.variants import Variant

_COLUMNS = ["variant", "benchmark", "language", "metric", "filter", "task", "item", "value"]
_HASHES = ["doc_hash", "prompt_hash", "tokens_hash"]


@dataclass(frozen=True)
class Comparison:
    """A variant to compare with another one: over the items of one (benchmark, language), or of all."""

    variant: VariantName
    baseline: VariantName
    place: tuple[str, str] | None = None


def comparisons(variants: Sequence[Variant]) -> list[Comparison]:
    """Every variant against the base model, a set's also against its controls: switched off, or trained alike."""
    compared = [Comparison(variant.name, BASE) for variant in variants if variant.name != BASE]
    for variant in variants:
        controls = (each.name for each in variants if each.name.control_of == variant.name)
        compared += [Comparison(variant.name, control) for control in controls]
    return compared


def store_verdicts(
    ledger: Ledger,
    compared: Sequence[Comparison],
    evaluated: Sequence[str],
    config: EvaluationConfig,
    *,
    seed: int,
    metrics: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Makes the comparisons, over the same items and as one family (Holm), and stores the verdicts; returns their unit.

    `evaluated`: the units of the variants' scores; `seed`: of the draws; `metrics`: what counts, by benchmark (None:
    the primary metrics that are scored).
    """
    unit = stage_unit(
        "verdicts",
        method=METHOD,
        pairs=[[":".join((*(each.place or ()), str(each.variant))), str(each.baseline)] for each in compared],
        evaluations=sorted(evaluated),
        alpha=config.alpha,
        min_effect=config.min_effect,
        seed=seed,
    )
    if ledger.done("verdicts", unit):
        return unit
    primary = {
        (row["benchmark"], row["metric"], row["filter"])
        for row in ledger.read("scores", evaluated).to_pylist()
        if (row["primary"] and row["n"] if metrics is None else row["metric"] in metrics[row["benchmark"]])
    }
    items = grouped_by_variant(ledger.read("samples", evaluated, [*_COLUMNS, *_HASHES]))

    def items_of(variant: VariantName, place: tuple[str, str] | None) -> Items:
        found = items.get(str(variant), {})
        return found if place is None else {key: rows for key, rows in found.items() if key[:2] == place}

    pairs = [
        Pair(
            samples=items_of(each.variant, each.place),
            baseline=items_of(each.baseline, each.place),
            model=ledger.model,
            night=None,
            variant=str(each.variant),
            baseline_name=str(each.baseline),
        )
        for each in compared
    ]
    verdicts = verdicts_of(pairs, primary, alpha=config.alpha, min_effect=config.min_effect, seed=seed)
    ledger.put("verdicts", unit, verdict_table(verdicts))
    counted = Counter(verdict.verdict for verdict in verdicts)
    say(f"  verdicts: {', '.join(f'{n} {name}' for name, n in counted.items()) or 'none'}")
    return unit
