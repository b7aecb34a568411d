"""A store as a study leaves it, from a seed: impacts, then sets, losses and metrics derived from them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eval.store import Store

Rows = dict[str, list[Any]]
SELECTION = "scaled-sigma"
BASE_PERPLEXITY = {"en": 38.0, "zh": 24.0, "th": 6.4, "sw": 383.0, "fr": 48.0, "de": 52.0}


@dataclass(frozen=True)
class Plan:
    """What the synthetic study is like; ``strength``: nats per token that removing the shared set costs."""

    model: str = "tiny/model-a"
    languages: tuple[str, ...] = ("en", "zh", "th", "sw", "fr", "de")
    widths: dict[str, int] = field(default_factory=lambda: {"q": 32, "k": 16, "v": 16, "ffn": 64})
    n_layers: int = 4
    target: float = 0.02
    strength: float = 5.0
    n_sentences: int = 20
    n_draws: int = 5
    seed: int = 0
    run_id: str = "run-0001"


def tables_of(plan: Plan) -> dict[str, pa.Table]:
    """Every table of the study of one model, with the store's columns."""
    rng = np.random.default_rng(plan.seed)
    impacts, scaled, scales, floors = _impacts(plan, rng)
    least = np.sort(np.concatenate([scaled[g].min(axis=0).ravel() for g in plan.widths]))[::-1]
    sigma = float(least[max(1, round(plan.target * len(least))) - 1])
    related = {lang: {g: scaled[g][i] >= sigma for g in plan.widths} for i, lang in enumerate(plan.languages)}
    sets = _sets(plan, related)
    losses, effects = _losses(plan, sets, rng)
    rule = {
        "name": "scaled_sigma",
        "sigma": sigma,
        "target_shared": plan.target,
        "per_token": True,
        "share": 1.0,
    }
    thresholds = {g: sigma * scales[g] for g in plan.widths}
    return {
        "runs": _one(_run(plan)),
        "corpora": _rows(_corpora(plan)),
        "impacts": impacts,
        "detections": _rows(_detections(plan, scales, floors)),
        "neuron_sets": _rows(_set_rows(plan, sets)),
        "selections": _one(
            _mark(plan, "selection") | {"selection": SELECTION, "rule_json": json.dumps(rule),
            "thresholds_json": json.dumps(thresholds), "certified": True,
            "n_neurons": sum(plan.widths.values()) * plan.n_layers}
        ),
        "sensitivity": _rows(_sensitivity(plan, scaled, sigma, related)),
        "perplexities": losses,
        "metrics": _rows(_metrics(plan, sets, effects)),
    }  # fmt: skip


def _mark(plan: Plan, unit: str) -> dict[str, Any]:
    return {"run_id": plan.run_id, "unit": f"{plan.model}:{plan.run_id}:{unit}", "model": plan.model}


def _one(row: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([row])


def _rows(rows: Iterator[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows))


def _impacts(
    plan: Plan, rng: np.random.Generator
) -> tuple[pa.Table, dict[str, Any], dict[str, float], dict[str, float]]:
    """Per group [L, layers, width]: a neuron's own size, times what each language makes of it."""
    parts, scaled, scales, floors = [], {}, {}, {}
    for g, (group, width) in enumerate(plan.widths.items()):
        shape = (len(plan.languages), plan.n_layers, width)
        depth = 1 + np.abs(np.linspace(-1, 1, plan.n_layers))[None, :, None]
        size = rng.lognormal(0, 0.9, shape[1:])[None] * depth * 10.0 ** (g - 1)
        rms = np.float32(size * rng.lognormal(0, 0.35, shape))
        scale = float(np.sqrt((np.float64(rms) ** 2).mean()))
        floor = float(np.quantile(rms, 0.6)) if group in ("q", "k") else float("nan")
        scaled[group], scales[group], floors[group] = np.float64(rms) / scale, scale, floor
        bounded = rms < floor if group in ("q", "k") else np.zeros(shape, bool)
        stored = np.where(bounded, np.float32(floor), rms) if group in ("q", "k") else rms
        layer, neuron = (
            a.ravel() for a in np.meshgrid(np.arange(plan.n_layers), np.arange(width), indexing="ij")
        )
        for i, lang in enumerate(plan.languages):
            value, hidden = stored[i].ravel(), bounded[i].ravel()
            n = len(value)
            mark = _mark(plan, f"impacts-{lang}")
            parts.append(
                pa.table(
                    {
                        "run_id": [mark["run_id"]] * n,
                        "unit": [mark["unit"]] * n,
                        "model": [plan.model] * n,
                        "language": [lang] * n,
                        "layer": pa.array(layer, pa.int32()),
                        "group": [group] * n,
                        "neuron": pa.array(neuron, pa.int32()),
                        "impact_min": pa.array(value * 4, pa.float32()),
                        "impact_mean": pa.array(value * 5, pa.float32(), mask=hidden),
                        "impact_max": pa.array(value * 9, pa.float32(), mask=hidden),
                        "impact_rms_min": pa.array(value, pa.float32()),
                        "impact_smallest": pa.array([[float(v)] * 5 for v in value], pa.list_(pa.float32())),
                        "rank_worst": pa.array(np.full(n, 0.5), pa.float32(), mask=hidden),
                        "bounded": pa.array(hidden),
                    }
                )
            )
    return pa.concat_tables(parts), scaled, scales, floors


def _sets(plan: Plan, related: dict[str, dict[str, Any]]) -> dict[tuple[str, str | None], dict[str, Any]]:
    sets: dict[tuple[str, str | None], dict[str, Any]] = {
        ("shared", None): {
            g: np.all([related[lang][g] for lang in plan.languages], axis=0) for g in plan.widths
        }
    }
    for lang in plan.languages:
        others = {
            g: np.any([related[o][g] for o in plan.languages if o != lang], axis=0) for g in plan.widths
        }
        sets["related", lang] = related[lang]
        sets["exclusive", lang] = {g: related[lang][g] & ~sets["shared", None][g] for g in plan.widths}
        sets["strict_exclusive", lang] = {g: related[lang][g] & ~others[g] for g in plan.widths}
    return sets


def _size(members: dict[str, Any]) -> int:
    return int(sum(m.sum() for m in members.values()))


def _set_rows(plan: Plan, sets: dict[tuple[str, str | None], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for (kind, lang), members in sets.items():
        head = _mark(plan, f"sets-{kind}-{lang}") | {
            "selection": SELECTION,
            "kind": kind,
            "language": lang,
            "seed": None,
        }
        for group, mask in members.items():
            for layer, neuron in np.argwhere(mask).tolist():
                variant = kind if lang is None else f"{kind}-{lang}"
                yield head | {"variant": variant, "layer": layer, "group": group, "neuron": neuron}


def _losses(
    plan: Plan, sets: dict[tuple[str, str | None], Any], rng: np.random.Generator
) -> tuple[pa.Table, dict[Any, float]]:
    variants: list[tuple[str, str, str | None, str | None, int | None, int]] = [
        ("base", "base", None, None, None, 0)
    ]
    variants.append(("shared", "shared", None, None, None, _size(sets["shared", None])))
    variants += [
        (f"exclusive-{x}", "exclusive", None, x, None, _size(sets["exclusive", x])) for x in plan.languages
    ]
    for name, _, _, lang, _, n in variants[1:]:
        variants += [(f"control-{name}-{s}", "control", name, lang, s, n) for s in range(plan.n_draws)]
    tokens = {lang: rng.integers(12, 60, plan.n_sentences) for lang in plan.languages}
    base = {
        lang: (math.log(BASE_PERPLEXITY.get(lang, 30.0)) + rng.normal(0, 0.3, plan.n_sentences))
        * tokens[lang]
        for lang in plan.languages
    }
    rows, effects = [], {}
    for name, kind, control_of, set_language, seed, n in variants:
        for lang in plan.languages:
            nats = _nats_lost(plan, kind, set_language, lang, seed, rng)
            effects[name, lang] = nats
            noise = (
                rng.normal(nats, 0.15 * abs(nats) + 1e-3, plan.n_sentences)
                if kind != "base"
                else np.zeros(plan.n_sentences)
            )
            loss = base[lang] + noise * tokens[lang]
            head = _mark(plan, f"ppl-{name}") | {
                "selection": SELECTION, "variant": name, "kind": kind, "control_of": control_of,
                "set_language": set_language, "seed": seed, "n_neurons": n, "language": lang,
            }  # fmt: skip
            rows += [
                head | {"sentence": s, "nll_nats": float(loss[s]), "n_tokens": int(tokens[lang][s])}
                for s in range(plan.n_sentences)
            ]
    return pa.Table.from_pylist(rows), effects


def _nats_lost(
    plan: Plan, kind: str, own: str | None, lang: str, seed: int | None, rng: np.random.Generator
) -> float:
    if kind == "shared":
        return plan.strength * float(rng.uniform(0.8, 1.6))
    if kind == "exclusive":
        if own == "de":
            return -0.02
        return float(rng.uniform(1.2, 2.2)) if own == lang else float(rng.uniform(0.1, 1.1))
    if kind == "control":
        return 1.1 if (seed, lang, own) == (3, "th", None) else float(rng.normal(0.01, 0.03))
    return 0.0


def _metrics(
    plan: Plan, sets: dict[tuple[str, str | None], Any], effects: dict[Any, float]
) -> Iterator[dict[str, Any]]:
    shared = _size(sets["shared", None])
    own = {lang: _size(sets["exclusive", lang]) for lang in plan.languages}
    head = _mark(plan, "metrics") | {"selection": SELECTION, "n_bootstrap": 1000, "seed": 0}

    def row(
        metric: str, language: str | None, value: float | None, reason: str | None = None
    ) -> dict[str, Any]:
        ends = {"low": None, "high": None} if value is None else {"low": value * 0.8, "high": value * 1.25}
        return head | {"metric": metric, "language": language, "value": value, "null_reason": reason} | ends

    if any(own.values()):
        yield row("shared_ratio", None, shared * len(own) / sum(own.values())) | {"low": None, "high": None}
    else:
        yield row("shared_ratio", None, None, "no language has exclusive neurons")
    for metric, change in (("imp_ppl", math.expm1), ("imp_nll", float)):
        found = []
        for lang in plan.languages:
            lost = effects[f"exclusive-{lang}", lang]
            if lost <= 0 or not shared or not own[lang]:
                yield row(metric, lang, None, "removing the exclusive set does not raise perplexity")
                continue
            found.append(change(effects["shared", lang]) / shared / (change(lost) / own[lang]))
            yield row(metric, lang, found[-1])
        score = math.log1p(sum(found) / len(found)) if found else None
        yield row(
            f"language_agnostic_score_{metric[-3:]}",
            None,
            score,
            None if found else "no language has an importance",
        )


def _sensitivity(
    plan: Plan, scaled: dict[str, Any], sigma: float, related: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    flat = np.concatenate([scaled[g].reshape(len(plan.languages), -1) for g in plan.widths], axis=1)
    ours = flat >= sigma
    for factor in (0.5, 0.71, 1.41, 2.0):
        near = flat >= sigma * factor
        shared, was = near.all(axis=0), ours.all(axis=0)
        exclusive = near.sum(axis=1) - shared.sum()
        for i, lang in enumerate(plan.languages):
            null = "q: threshold below the certified floor" if factor == 0.5 else None
            yield _mark(plan, "sensitivity") | {
                "selection": SELECTION,
                "neighbour": f"σ × {factor:g}",
                "sigma": sigma * factor,
                "language": lang,
                "n_related": None if null else int(near[i].sum()),
                "n_shared": None if null else int(shared.sum()),
                "n_exclusive": None if null else int(exclusive[i]),
                "shared_ratio": None
                if null or not exclusive.any()
                else float(shared.sum() / exclusive.mean()),
                "jaccard_related": None
                if null
                else float((near[i] & ours[i]).sum() / max(1, (near[i] | ours[i]).sum())),
                "jaccard_shared": None
                if null
                else float((shared & was).sum() / max(1, (shared | was).sum())),
                "null_reason": null,
            }


def _detections(plan: Plan, scales: dict[str, float], floors: dict[str, float]) -> Iterator[dict[str, Any]]:
    for lang in plan.languages:
        for group, width in plan.widths.items():
            bounded = group in ("q", "k")
            yield _mark(plan, f"impacts-{lang}") | {
                "language": lang,
                "group": group,
                "n_sentences": 100,
                "n_tokens": 2400,
                "seed_mean_square": scales[group] ** 2,
                "seed_mean_square_raw": 16 * scales[group] ** 2,
                "floor_raw": floors[group] * 4 if bounded else None,
                "floor_rms": floors[group] if bounded else None,
                "n_bounded": int(0.6 * width * plan.n_layers) if bounded else 0,
                "mode": "certified",
            }


def _corpora(plan: Plan) -> Iterator[dict[str, Any]]:
    for i, lang in enumerate(plan.languages):
        yield _mark(plan, f"corpus-{lang}") | {
            "language": lang,
            "source": "embedded",
            "revision": "1",
            "sha": f"{i}f3a9c2d1e4b5a6978",
            "n_read": 160,
            "n_detection": 100,
            "n_heldout": plan.n_sentences,
            "n_tokens_detection": 2400 + 31 * i,
            "n_tokens_heldout": 700 + 13 * i,
            "dropped_json": json.dumps({"too_short": 7, "duplicate": i}),
        }


def _run(plan: Plan) -> dict[str, Any]:
    return {
        "run_id": plan.run_id,
        "unit": f"run:{plan.run_id}",
        "started_at": "2026-11-21T05:40:00+00:00",
        "finished_at": "2026-11-21T05:47:31+00:00",
        "status": "finished",
        "config_json": json.dumps(
            {"model": {"path": plan.model}, "detection": {"mode": "certified"}, "seeds": [0, 1, 2]}
        ),
        "versions_json": json.dumps({"torch": "2.13.0", "transformers": "5.19.0"}),
        "hardware_json": json.dumps({"cpu": {"count": 2}, "memory_bytes": 8 << 30}),
        "seeds_json": json.dumps({"sampling": 0, "controls": [0, 1, 2, 3, 4]}),
        "timings_json": json.dumps({"detect_s": 71.3, "ablate_s": 214.0}),
        "command": "python pipelines/full_study.py --config study.yaml",
    }


def store_with(root: Path, *plans: Plan) -> Store:
    """A real store on disk holding the studies of ``plans``, one file per (table, unit, partition)."""
    store = Store(root)
    for plan in plans:
        for name, table in tables_of(plan).items():
            put(store, name, table)
    return store


def put(store: Store, name: str, table: pa.Table) -> None:
    """Write one table, unit by unit, as the pipelines do."""
    for unit in pc.unique(table["unit"]).to_pylist():
        rows = table.filter(pc.equal(table["unit"], unit))
        store.write(name, rows, unit)
