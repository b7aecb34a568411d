"""Rows of the tables detectors, neuron_sets, set_overlaps and perplexities as detectors leave them, checked by eye."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.overlap import overlap_table, overlaps
from tests.eval.report.benchmark_rows import MODEL, RUN
from tests.eval.report.synthetic import SELECTION, Plan

Rows = list[dict[str, Any]]
Members = Mapping[str, list[tuple[int, int]]]
"""By language: (layer, neuron)."""
RULES: dict[str, dict[str, Any]] = {
    "lape": {"filter_rate": 0.95, "top_rate": 0.01},
    "act_prob": {"percentile": 90, "top_rate": 0.00125},
    "act_prob_pooled": {"percentile": 90, "top_rate": 0.00125},
}


def selection_of(detector: str, mark: str = "") -> str:
    return f"{detector}-{mark or 'aaaa'}"


def put_detector(
    store: Store,
    plan: Plan,
    detector: str,
    members: Members,
    mark: str = "",
    run_id: str = RUN,
    **other: Any,
) -> list[str]:
    """Its sets and their random controls, neuron 0 of each layer; the units."""
    unit = f"detector:{run_id}:{mark}:{plan.model}:{detector}"
    head = {"model": plan.model, "selection": selection_of(detector, mark)}
    rows = []
    for language, found in members.items():
        for kind, name, seed, chosen in (
            ("detected", f"{detector}-{language}", None, found),
            ("control", f"control-{detector}-{language}-0", 0, [(layer, 0) for layer, _ in found[:1]]),
        ):
            rows += [
                head
                | {"kind": kind, "language": language, "seed": seed, "variant": name}
                | {"layer": layer, "group": "ffn", "neuron": neuron}
                for layer, neuron in chosen
            ]
    described = head | {
        "detector": detector,
        "site": "matched",
        "activations": "statistics",
        "rule_json": json.dumps({"name": detector} | RULES.get(detector, {})),
        "thresholds_json": json.dumps({f"relevance/{code}": 0.1 for code in members} | {"filter": None}),
        "n_neurons": plan.n_layers * plan.widths["ffn"],
    }
    _put(store, plan.model, "neuron_sets", rows, unit, run_id)
    _put(store, plan.model, "detectors", [described | other], unit, run_id)
    return [unit]


def put_overlaps(
    store: Store, plan: Plan, detectors: Mapping[str, Members], mark: str = "", run_id: str = RUN
) -> list[str]:
    """Of all detectors with each other and with the stored impact sets, as `polyneuron.neuron_core.sets.overlap` finds them."""
    stored = store.read(
        "neuron_sets", [("model", "=", plan.model), ("selection", "=", SELECTION)]
    ).to_pylist()
    methods: dict[str, dict[str, NeuronSet]] = {}
    for kind in ("related", "exclusive"):
        methods[f"impact_{kind}"] = {
            code: _set(
                plan,
                [
                    (row["layer"], row["neuron"])
                    for row in stored
                    if (row["kind"], row["language"], row["group"]) == (kind, code, "ffn")
                ],
            )
            for code in plan.languages
        }
    methods |= {
        name: {code: _set(plan, found) for code, found in each.items()} for name, each in detectors.items()
    }
    rows = [
        row
        for row in overlap_table(overlaps(methods)).to_pylist()
        if (row["method_a"], row["method_b"]) != ("impact_related", "impact_exclusive")
    ]
    unit = f"overlaps:{run_id}:{mark}:{plan.model}"
    _put(
        store,
        plan.model,
        "set_overlaps",
        [{"model": plan.model, "selection": SELECTION} | row for row in rows],
        unit,
        run_id,
    )
    return [unit]


def put_changes(
    store: Store,
    plan: Plan,
    detector: str,
    ratios: Mapping[str, Mapping[str, float]],
    draws: Mapping[str, float],
    mark: str = "",
    run_id: str = RUN,
) -> list[str]:
    """``ratios[set language][language]``: multiples of the base's perplexity, the same on every sentence; ``draws``:
    those of each language's random control, in every language."""
    base = [
        row
        for row in store.read("perplexities", [("model", "=", plan.model)]).to_pylist()
        if row["variant"] == "base" and row["selection"] == SELECTION
    ]
    plain = {
        "selection": selection_of(detector, mark),
        "control_of": None,
        "set_language": None,
        "seed": None,
    }
    variants: list[tuple[dict[str, Any], Mapping[str, float]]] = [
        (plain | {"variant": "base", "kind": "base", "n_neurons": 0}, {})
    ]
    for code, changed in ratios.items():
        name, mine = f"{detector}-{code}", plain | {"set_language": code, "n_neurons": 3}
        variants.append((mine | {"variant": name, "kind": "detected"}, changed))
        if code in draws:
            control = {"variant": f"control-{name}-0", "kind": "control", "control_of": name, "seed": 0}
            variants.append((mine | control, dict.fromkeys(plan.languages, draws[code])))
    units = []
    for head, changed in variants:
        rows = [
            {key: row[key] for key in ("model", "language", "sentence", "n_tokens")}
            | head
            | {"nll_nats": row["nll_nats"] + math.log(changed.get(row["language"], 1.0)) * row["n_tokens"]}
            for row in base
        ]
        units.append(f"ppl:{run_id}:{mark}:{plan.model}:{detector}:{head['variant']}")
        _put(store, plan.model, "perplexities", rows, units[-1], run_id)
    return units


def usual_methods(store: Store, plan: Plan) -> list[str]:
    """LAPE takes some of each language's impact-related neurons and others, the pooled form half of LAPE's, and the
    published form neurons at random; sets and controls are measured in every language."""
    rng = np.random.default_rng(0)
    stored = store.read(
        "neuron_sets", [("model", "=", plan.model), ("selection", "=", SELECTION)]
    ).to_pylist()
    found: dict[str, dict[str, list[tuple[int, int]]]] = {"lape": {}, "act_prob": {}, "act_prob_pooled": {}}
    for i, code in enumerate(plan.languages):
        related = [
            (row["layer"], row["neuron"])
            for row in stored
            if (row["kind"], row["language"], row["group"]) == ("related", code, "ffn")
        ]
        found["lape"][code] = sorted({*related[: 4 + i], *_random(plan, 6, rng)})
        found["act_prob"][code] = _random(plan, 8, rng)
        found["act_prob_pooled"][code] = sorted({*found["lape"][code][:5], *_random(plan, 4, rng)})
    units: list[str] = []
    for detector, members in found.items():
        units += put_detector(store, plan, detector, members)
        ratios = {
            code: {other: 1.3 if other == code else 1.02 for other in plan.languages}
            for code in plan.languages
        }
        if detector == "act_prob":
            ratios = {code: dict.fromkeys(plan.languages, 1.01) for code in plan.languages}
        units += put_changes(store, plan, detector, ratios, dict.fromkeys(plan.languages, 1.01))
    return units + put_overlaps(store, plan, found)


def _random(plan: Plan, n: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    width = plan.widths["ffn"]
    chosen = rng.choice(plan.n_layers * width, n, replace=False).tolist()
    return sorted((at // width, at % width) for at in chosen)


def _set(plan: Plan, members: list[tuple[int, int]]) -> NeuronSet:
    by_layer = {
        (layer, "ffn"): np.array(sorted({n for at, n in members if at == layer}), np.int64)
        for layer in range(plan.n_layers)
    }
    return NeuronSet(plan.model, {"ffn": plan.widths["ffn"]}, plan.n_layers, by_layer)


def _put(store: Store, model: str, table: str, rows: Rows, unit: str, run_id: str) -> None:
    """``model``: so that a table without rows has one too."""
    marked = [{"run_id": run_id, "unit": unit} | row for row in rows]
    store.write(table, pa.Table.from_pylist(marked, schema=TABLES[table].schema), unit, {"model": model})


__all__ = ["MODEL", "put_changes", "put_detector", "put_overlaps", "selection_of", "usual_methods"]
