"""The numbers that a tracker is shown, by name, as the store and the report have them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from polyneuron.eval.nightly.baseline import newest, nights, started_at
from polyneuron.eval.report.numbers.effects import effects_of
from polyneuron.eval.report.numbers.units import studies_of
from polyneuron.eval.report.numbers.variants import variants_of
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.sets.variant_name import CONTROL_KINDS
from polyneuron.pipelines.run.ledger import Ledger

Values = dict[str, float | str]
NIGHT = "night/number"
"""The axis of nights: 1 for the first in the store."""


def training_curve(ledger: Ledger, unit: str) -> list[Values]:
    """A row for every step of a training, in order: loss, learning rate and gradient norm, and nats per token of each language
    where it was validated. Steps count from 1 as in TensorBoard; 0 is before training."""
    by_step: dict[int, Values] = defaultdict(dict)
    for row in ledger.read("training", [unit]).to_pylist():
        names = ("loss_nats", "learning_rate", "gradient_norm")
        by_step[row["step"] + 1] |= {f"training/{row['variant']}/{name}": row[name] for name in names}
    for row in ledger.read("validations", [unit]).to_pylist():
        name = f"validation/{row['variant']}/{row['language']}/nats_per_token"
        by_step[row["step"]][name] = row["nll_nats"] / row["n_tokens"]
    return [{"training/step": step} | by_step[step] for step in sorted(by_step)]


def scores_of(rows: Iterable[Mapping[str, Any]]) -> Values:
    """By benchmark, language and variant, the primary score and the ends of its interval, of rows of the table scores. Scores on
    a few samples, which are no finding, are named so, and so is what stands in for a benchmark."""
    found: Values = {}
    for row in rows:
        if not row["primary"] or row["value"] is None:
            continue
        section = "stand_in_scores" if row["stand_in"] else "scores"
        section = "sample_scores" if row["data"] == "sample" else section
        name = f"{section}/{row['benchmark']}/{row['language']}/{row['variant']}"
        found |= _with_ends(name, row["value"], row["low"], row["high"])
    return found


def perplexities_of(store: Store, run: str, model: str) -> Values:
    """Of a model that `run` studied: the held-out perplexity of each language and, by set or trained variant and language, its
    multiple with the ends of its interval. Random draws are left out. Empty where no perplexity was measured."""
    runs = sorted(store.read("runs").to_pylist(), key=lambda row: (str(row["started_at"]), row["run_id"]))
    tables = next((found for found in studies_of(store, runs, run) if found.model == model), None)
    if tables is None:
        return {}
    selection = tables.chosen()["selection"]
    variants = variants_of(tables.read("perplexities", selection))
    effects = effects_of(variants)
    if effects is None:
        return {}
    found: Values = {f"perplexity/{code}": ppl for code, ppl in effects.base.items()}
    for variant in variants:
        if variant.kind in CONTROL_KINDS:
            continue
        for code, effect in effects.by.get(variant.name, {}).items():
            found |= _with_ends(
                f"perplexity_factor/{variant.name}/{code}", effect.times, effect.low, effect.high
            )
    return found


def night_row(store: Store, model: str, night: str, outcome: str) -> Values:
    """One night of a model: its number and label, how it ended, and its scores."""
    started = started_at(store)
    rows = store.read("scores", [("model", "=", model), ("night", "=", night)]).to_pylist()
    labels = [each.label for each in nights(store, model)]
    number = labels.index(night) + 1 if night in labels else len(labels) + 1
    row: Values = {NIGHT: number, "night/label": night, "night/outcome": outcome}
    return row | scores_of(newest(rows, started))


def _with_ends(name: str, value: float, low: float | None, high: float | None) -> Values:
    found: Values = {name: value}
    found |= {f"{name}/{end}": x for end, x in (("low", low), ("high", high)) if x is not None}
    return found
