"""Stage 8: paired verdicts on the benchmark scores of one study's variants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import pyarrow.compute as pc

from polyneuron.eval.store.store import Store
from polyneuron.eval.verdicts.comparisons import Pair, verdict_table, verdicts_of
from polyneuron.neuron_core.sets.variant_name import BASE, VariantName
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.subject import Subject
from polyneuron.pipelines.run.units import verdicts_unit
from polyneuron.pipelines.stages.evaluation import Judged


def store_verdicts(
    subject: Subject, store: Store, run_id: str, judged: Sequence[Judged], evaluated: Sequence[str]
) -> str:
    """Compares every variant with the base model, its controls and those beside it, over the same items; returns the unit.

    `evaluated`: the units of the variants' scores.

    All comparisons of the model are one family (Holm).
    """
    evaluation = subject.config.evaluation
    compared = comparisons(judged)
    names = [(str(variant), str(baseline)) for variant, baseline in compared]
    unit = verdicts_unit(
        names, sorted(evaluated), evaluation.alpha, evaluation.min_effect, subject.config.seed
    )
    if store.has("verdicts", unit):
        return unit
    everything = pc.field("unit").isin(list(evaluated))
    scores, samples = store.read("scores", everything), store.read("samples", everything)
    scored = scores.filter((pc.field("primary")) & (pc.field("n") > 0))
    primary = {
        (row["benchmark"], row["metric"], row["filter"])
        for row in scored.select(["benchmark", "metric", "filter"]).to_pylist()
    }
    by_variant = {
        str(variant.name): samples.filter(pc.field("variant") == str(variant.name)) for variant in judged
    }
    pairs = [
        Pair(
            samples=by_variant[name],
            baseline=by_variant[baseline],
            model=subject.name,
            night=None,
            variant=name,
            baseline_name=baseline,
        )
        for name, baseline in names
    ]
    judge_and_store(subject, store, run_id, unit, pairs, primary)
    return unit


def judge_and_store(
    subject: Subject,
    store: Store,
    run_id: str,
    unit: str,
    pairs: Sequence[Pair],
    primary: Collection[tuple[str, str, str]],
) -> None:
    """Judges `pairs` by the `primary` (benchmark, metric, filter), as one family (Holm), and stores the verdicts as `unit`."""
    evaluation = subject.config.evaluation
    verdicts = verdicts_of(
        pairs,
        primary,
        alpha=evaluation.alpha,
        min_effect=evaluation.min_effect,
        seed=subject.config.seed,
    )
    store.write("verdicts", verdict_table(verdicts), unit, {"model": subject.name}, run_id=run_id)
    counted = Counter(verdict.verdict for verdict in verdicts)
    say(f"  verdicts: {', '.join(f'{n} {name}' for name, n in counted.items()) or 'none'}")


def comparisons(judged: Sequence[Judged]) -> list[tuple[VariantName, VariantName]]:
    """(variant, what it is compared with): the base model, for a set its controls, and what stands beside it."""
    found = [(variant.name, BASE) for variant in judged if variant.name != BASE]
    for variant in judged:
        found += [
            (variant.name, control.name) for control in judged if control.name.control_of == variant.name
        ]
        found += [(variant.name, other) for other in variant.beside]
    return found
