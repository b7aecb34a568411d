"""Paired verdicts of a transfer study: interventions against none, and trained neurons against attention alone and random."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from polyneuron.eval.store.store import Store
from polyneuron.eval.verdicts.comparisons import Pair
from polyneuron.pipelines.run.subject import Subject
from polyneuron.pipelines.run.units import verdicts_unit
from polyneuron.pipelines.stages.verdicts import judge_and_store
from polyneuron.pipelines.transfer.evaluation import Cell

METRICS = {"xnli": ("acc",), "xquad": ("exact_match", "f1")}
"""What each task is judged by, as in the paper's tables."""
_COLUMNS = ["variant", "benchmark", "language", "metric", "filter", "task", "item", "value"]
_HASHES = ["doc_hash", "prompt_hash", "tokens_hash"]


def store_transfer_verdicts(
    subject: Subject, store: Store, run_id: str, cells: Sequence[Cell], evaluated: Sequence[str]
) -> str:
    """Compares each cell with its baselines over the same items of its language; returns the unit.

    All comparisons of the model, both metrics of XQuAD included, are one family (Holm).
    """
    evaluation, judged = subject.config.evaluation, {c.variant for c in cells if c.null_reason is None}
    compared = list(
        dict.fromkeys(
            (cell.task, cell.language, str(cell.variant), str(baseline))
            for cell in cells
            for baseline in cell.baselines
            if {cell.variant, baseline} <= judged
        )
    )
    names = [(f"{task}:{language}:{variant}", baseline) for task, language, variant, baseline in compared]
    unit = verdicts_unit(
        names, sorted(evaluated), evaluation.alpha, evaluation.min_effect, subject.config.seed
    )
    if store.has("verdicts", unit):
        return unit
    samples = store.read("samples", pc.field("unit").isin(list(evaluated)), [*_COLUMNS, *_HASHES])

    def items(task: str, language: str, variant: str) -> pa.Table:
        here = (pc.field("benchmark") == task) & (pc.field("language") == language)
        return samples.filter(here & (pc.field("variant") == variant))

    pairs = [
        Pair(
            samples=items(task, language, variant),
            baseline=items(task, language, baseline),
            model=subject.name,
            night=None,
            variant=variant,
            baseline_name=baseline,
        )
        for task, language, variant, baseline in compared
    ]
    found = samples.group_by(["benchmark", "metric", "filter"]).aggregate([]).to_pylist()
    primary = {
        (row["benchmark"], row["metric"], row["filter"])
        for row in found
        if row["metric"] in METRICS.get(row["benchmark"], ())
    }
    judge_and_store(subject, store, run_id, unit, pairs, primary)
    return unit
