"""Paired verdicts on the benchmark scores of one study's variants: the end of the stage evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from polyneuron.eval.verdicts.comparisons import Pair, verdict_table, verdicts_of
from polyneuron.neuron_core.sets.variant_name import BASE, VariantName
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.units import stage_unit
from polyneuron.pipelines.stages.variants import Variant


@dataclass(frozen=True)
class Standard:
    """By what measure variants are compared."""

    alpha: float
    """The share of false findings that a family of comparisons may have."""
    min_effect: float
    """The smallest difference that counts."""
    seed: int
    """Of the resampling."""

    def unit(self, compared: Sequence[tuple[str, str]], evaluated: Sequence[str]) -> str:
        """The unit of the verdicts on pairs of variants over what the units `evaluated` hold."""
        return stage_unit(
            "verdicts",
            pairs=[list(pair) for pair in compared],
            evaluations=sorted(evaluated),
            alpha=self.alpha,
            min_effect=self.min_effect,
            seed=self.seed,
        )

    def judge(
        self, ledger: Ledger, unit: str, pairs: Sequence[Pair], primary: Collection[tuple[str, str, str]]
    ) -> None:
        """Judges `pairs` by the `primary` (benchmark, metric, filter), as one family (Holm), and stores the verdicts."""
        verdicts = verdicts_of(pairs, primary, alpha=self.alpha, min_effect=self.min_effect, seed=self.seed)
        ledger.put("verdicts", unit, verdict_table(verdicts))
        counted = Counter(verdict.verdict for verdict in verdicts)
        say(f"  verdicts: {', '.join(f'{n} {name}' for name, n in counted.items()) or 'none'}")


def store_verdicts(
    ledger: Ledger, variants: Sequence[Variant], evaluated: Sequence[str], standard: Standard
) -> None:
    """Compares every variant with the base model, its controls and those beside it, over the same items.

    `evaluated`: the units of the variants' scores. All comparisons of the model are one family.
    """
    compared = [(str(variant), str(baseline)) for variant, baseline in comparisons(variants)]
    unit = standard.unit(compared, evaluated)
    if ledger.done("verdicts", unit):
        return
    scores, samples = ledger.read("scores", evaluated), ledger.read("samples", evaluated)
    scored = scores.filter((pc.field("primary")) & (pc.field("n") > 0))
    primary = {
        (row["benchmark"], row["metric"], row["filter"])
        for row in scored.select(["benchmark", "metric", "filter"]).to_pylist()
    }
    by_variant = {
        name: samples.filter(pc.field("variant") == name) for name in {str(v.name) for v in variants}
    }
    pairs = [
        Pair(
            samples=by_variant[name],
            baseline=by_variant[baseline],
            model=ledger.model,
            night=None,
            variant=name,
            baseline_name=baseline,
        )
        for name, baseline in compared
    ]
    standard.judge(ledger, unit, pairs, primary)


def comparisons(variants: Sequence[Variant]) -> list[tuple[VariantName, VariantName]]:
    """(variant, what it is compared with): the base model, for a set its controls, and what stands beside it."""
    found = [(variant.name, BASE) for variant in variants if variant.name != BASE]
    for variant in variants:
        found += [(variant.name, each.name) for each in variants if each.name.control_of == variant.name]
        found += [(variant.name, other) for other in variant.beside]
    return found
