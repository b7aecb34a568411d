"""Paired verdicts of a transfer study: interventions against none, and trained neurons against attention alone and random."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from polyneuron.eval.verdicts.comparisons import Pair
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.stages.verdicts import Standard
from polyneuron.pipelines.transfer.evaluation import TransferCell

METRICS = {"xnli": ("acc",), "xquad": ("exact_match", "f1")}
"""What each task is judged by, as in the paper's tables."""
_COLUMNS = ["variant", "benchmark", "language", "metric", "filter", "task", "item", "value"]
_HASHES = ["doc_hash", "prompt_hash", "tokens_hash"]


def store_transfer_verdicts(
    ledger: Ledger, cells: Sequence[TransferCell], evaluated: Sequence[str], standard: Standard
) -> str:
    """Compares each cell with its baselines over the same items of its language; returns the unit.

    All comparisons of the model, both metrics of XQuAD included, are one family (Holm).
    """
    judged = {cell.variant for cell in cells if cell.null_reason is None}
    compared = list(
        dict.fromkeys(
            (cell.task, cell.language, str(cell.variant), str(baseline))
            for cell in cells
            for baseline in cell.baselines
            if {cell.variant, baseline} <= judged
        )
    )
    names = [(f"{task}:{language}:{variant}", baseline) for task, language, variant, baseline in compared]
    unit = standard.unit(names, evaluated)
    if ledger.done("verdicts", unit):
        return unit
    samples = ledger.read("samples", evaluated, [*_COLUMNS, *_HASHES])

    def items(task: str, language: str, variant: str) -> pa.Table:
        of_place = (pc.field("benchmark") == task) & (pc.field("language") == language)
        return samples.filter(of_place & (pc.field("variant") == variant))

    pairs = [
        Pair(
            samples=items(task, language, variant),
            baseline=items(task, language, baseline),
            model=ledger.model,
            night=None,
            variant=variant,
            baseline_name=baseline,
        )
        for task, language, variant, baseline in compared
    ]
    scored = samples.group_by(["benchmark", "metric", "filter"]).aggregate([]).to_pylist()
    primary = {
        (row["benchmark"], row["metric"], row["filter"])
        for row in scored
        if row["metric"] in METRICS.get(row["benchmark"], ())
    }
    standard.judge(ledger, unit, pairs, primary)
    return unit
