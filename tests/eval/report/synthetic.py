"""A store as a study leaves it: impacts and losses from a seed, then real selection, sensitivity, metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polyneuron.eval.report.numbers.study import Report, read_report
from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.measures.language_agnostic import LanguageLosses, Losses, measures_of
from polyneuron.neuron_core.selection.rules import Rule, ScaledSigma
from polyneuron.neuron_core.selection.select import Selection, select
from polyneuron.neuron_core.selection.sensitivity import sensitivity
from polyneuron.neuron_core.sets.neuron_set import NeuronSet

SELECTION = "scaled-sigma"
BASE_PERPLEXITY = {"en": 38.0, "zh": 24.0, "th": 6.4, "sw": 383.0, "fr": 48.0, "de": 52.0}


@dataclass(frozen=True)
class Plan:
    """What the study is like.

    ``strength``: nats per token that removing the shared set costs. ``n_draws``: of each kind beside each set. ``explained``: the
    share of ``strength`` that draws nearest in impact cost; ``match``: their impact over the set's; ``n_short``: how many neurons
    they lack. ``bounded``: as after certified detection, q and k neurons below a floor carry only upper bounds.
    """

    model: str = "tiny/model-a"
    languages: tuple[str, ...] = ("en", "zh", "th", "sw", "fr", "de")
    widths: dict[str, int] = field(default_factory=lambda: {"q": 32, "k": 16, "v": 16, "ffn": 64})
    n_layers: int = 4
    rule: Rule = field(default_factory=lambda: ScaledSigma(target_shared=0.02))
    bounded: bool = True
    strength: float = 5.0
    n_sentences: int = 20
    n_draws: int = 5
    explained: float = 0.0
    match: float = 0.95
    n_short: int = 0
    seed: int = 0
    run_id: str = "run-0001"


def tables_of(plan: Plan) -> dict[str, pa.Table]:
    """Every table of the study of one model, with the store's columns."""
    rng = np.random.default_rng(plan.seed)
    impacts, detections = _impacts(plan, rng)
    selection = select(impacts, detections, plan.rule)
    variants = _variants(selection)
    draws = list(_draws(plan, variants))
    losses = _losses(plan, [("base", "base", None, 0), *variants], draws, rng)
    near = sensitivity(impacts, detections, plan.rule).to_pylist()
    mark = _mark(plan, "selection") | {"selection": SELECTION}
    return {
        "runs": pa.Table.from_pylist([_run(plan)]),
        "corpora": pa.Table.from_pylist(list(_corpora(plan))),
        "impacts": impacts,
        "detections": detections,
        "neuron_sets": pa.Table.from_pylist([mark | row for row in _set_rows(selection)]),
        "selections": pa.Table.from_pylist(
            [
                mark
                | {
                    "rule_json": json.dumps(selection.describe()),
                    "thresholds_json": json.dumps(dict(selection.thresholds)),
                    "n_neurons": selection.n_measured,
                }
            ]
        ),
        "sensitivity": pa.Table.from_pylist([mark | row for row in near]),
        "noise_floor": pa.Table.from_pylist(
            [_mark(plan, "noise") | row for row in _noise_rows(selection)],
            schema=pa.schema([*TABLES["noise_floor"].schema]),
        ),
        "perplexities": losses,
        **({"controls": pa.Table.from_pylist([mark | draw for draw in draws])} if draws else {}),
        "metrics": pa.Table.from_pylist([mark | row for row in _metrics(selection, losses)]),
    }


def _mark(plan: Plan, unit: str) -> dict[str, Any]:
    return {"run_id": plan.run_id, "unit": f"{plan.model}:{plan.run_id}:{unit}", "model": plan.model}


def _impacts(plan: Plan, rng: np.random.Generator) -> tuple[pa.Table, pa.Table]:
    """A neuron's own size, times what each language makes of it; per group [L, layers, width]."""
    parts, detections = [], []
    for g, (group, width) in enumerate(plan.widths.items()):
        shape = (len(plan.languages), plan.n_layers, width)
        depth = 1 + np.abs(np.linspace(-1, 1, plan.n_layers))[None, :, None]
        size = rng.lognormal(0, 0.9, shape[1:])[None] * depth * 10.0 ** (g - 1)
        rms = (size * rng.lognormal(0, 0.35, shape)).astype(np.float32)
        ranks = (1 + np.argsort(np.argsort(-rms, axis=2), axis=2)) / width
        prunes = plan.bounded and group in ("q", "k")
        floor = np.quantile(rms, 0.8).astype(np.float32) if prunes else np.float32(0)
        hidden = rms < floor
        stored = np.maximum(rms, floor)
        layer, neuron = (
            a.ravel() for a in np.meshgrid(np.arange(plan.n_layers), np.arange(width), indexing="ij")
        )
        for i, lang in enumerate(plan.languages):
            value, below = stored[i].ravel(), hidden[i].ravel()
            mark = {k: [v] * len(value) for k, v in _mark(plan, f"impacts-{lang}").items()}
            parts.append(
                pa.table(
                    mark
                    | {
                        "language": [lang] * len(value),
                        "layer": pa.array(layer, pa.int32()),
                        "group": [group] * len(value),
                        "neuron": pa.array(neuron, pa.int32()),
                        "impact_min": pa.array(value * 4, pa.float32()),
                        "impact_mean": pa.array(value * 5, pa.float32(), mask=below),
                        "impact_max": pa.array(value * 9, pa.float32(), mask=below),
                        "impact_rms_min": pa.array(value, pa.float32()),
                        "impact_seed": pa.array(rms[i].ravel(), pa.float32()),
                        "impact_smallest": pa.array(
                            [[v * k for k in (1, 1.1, 1.2)] for v in value], pa.list_(pa.float32())
                        ),
                        "rank_worst": pa.array(ranks[i].ravel(), pa.float32(), mask=below),
                        "bounded": pa.array(below),
                        "impact_seed_min": pa.array(value * 4, pa.float32(), mask=below | (not prunes)),
                        "impact_seed_rms_min": pa.array(value, pa.float32(), mask=below | (not prunes)),
                    }
                )
            )
            detections.append(
                _mark(plan, f"impacts-{lang}")
                | {
                    "language": lang,
                    "group": group,
                    "n_sentences": 100,
                    "n_tokens": 2400,
                    "seed_mean_square": float((rms[i].astype(np.float64) ** 2).mean()),
                    "seed_mean_square_raw": float(16 * (rms[i].astype(np.float64) ** 2).mean()),
                    "floor_raw": float(floor * 4) if prunes else None,
                    "floor_rms": float(floor) if prunes else None,
                    "n_bounded": int(below.sum()),
                    "mode": "certified" if plan.bounded else "full",
                }
            )
    return pa.concat_tables(parts), pa.Table.from_pylist(detections)


def _noise_rows(selection: Selection) -> Iterator[dict[str, Any]]:
    """Every exclusive set but that of de is larger than by chance; the shared set's size was chosen."""
    sizes = {"exclusive": selection.exclusive, "strict_exclusive": selection.strict_exclusive}
    draws = {"n_halvings": 50, "jaccard_low": 0.4, "jaccard_high": 0.6, "jaccard_chance": 0.01}
    yield {
        "kind": "shared", "language": None, "n_neurons": float(len(selection.shared)), **draws,
        "half_size": 10.0, "jaccard": 0.5, "chance_size": 0.2, "chance_low": 0.0, "chance_high": 1.0,
        "null_reason": "the rule chose this size",
    }  # fmt: skip
    for kind, by_language in sizes.items():
        counts: dict[str | None, float] = {code: float(len(own)) for code, own in by_language.items()}
        for code, size in {None: sum(counts.values()) / len(counts), **counts}.items():
            chance = size if code == "de" else size / 2
            yield {
                "kind": kind, "language": code, "n_neurons": size, **draws, "n_permutations": 200,
                "half_size": 1.5 * size, "jaccard": 0.45, "chance_size": chance, "chance_low": chance / 2,
                "chance_high": 1.5 * chance, "p_value": 0.5 if code == "de" else 1 / 201,
            }  # fmt: skip


def _set_rows(selection: Selection) -> Iterator[dict[str, Any]]:
    kinds: dict[str, Mapping[str | None, NeuronSet]] = {
        "shared": {None: selection.shared},
        "related": dict(selection.related),
        "exclusive": dict(selection.exclusive),
        "strict_exclusive": dict(selection.strict_exclusive),
    }
    for kind, sets in kinds.items():
        for language, members in sets.items():
            variant = kind if language is None else f"{kind}-{language}"
            for row in members.to_arrow().to_pylist():
                row.pop("model")
                yield row | {"kind": kind, "language": language, "seed": None, "variant": variant}


Switched = tuple[str, str, str | None, int]
"""A set that is switched off: name, kind, language, neurons."""


def _variants(selection: Selection) -> list[Switched]:
    own = {"exclusive": selection.exclusive, "strict_exclusive": selection.strict_exclusive}
    return [("shared", "shared", None, len(selection.shared))] + [
        (f"{kind}-{lang}", kind, lang, len(neurons))
        for kind, sets in own.items()
        for lang, neurons in sets.items()
        if len(neurons)
    ]


def _draws(plan: Plan, variants: list[Switched]) -> Iterator[dict[str, Any]]:
    """Draws of every kind beside every set, as the table controls holds them."""
    for name, _, lang, n in variants:
        kinds = {"control": 0.1, "impact_control": plan.match}
        for control, ratio in (kinds | ({"language_control": 1.0} if lang else {})).items():
            for seed in range(plan.n_draws):
                yield {
                    "variant": f"{control.replace('_', '-')}-{name}-{seed}",
                    "kind": control,
                    "set_language": lang,
                    "control_of": name,
                    "seed": seed,
                    "n_neurons": n - plan.n_short * (control == "impact_control"),
                    "n_asked": n,
                    "impact_ratio": ratio,
                }


def _losses(
    plan: Plan, sets: list[Switched], draws: list[dict[str, Any]], rng: np.random.Generator
) -> pa.Table:
    variants = [(name, kind, None, lang, None, n) for name, kind, lang, n in sets]
    columns = ("variant", "kind", "control_of", "set_language", "seed", "n_neurons")
    variants += [tuple(draw[column] for column in columns) for draw in draws]
    tokens = {lang: rng.integers(12, 60, plan.n_sentences) for lang in plan.languages}
    base = {
        lang: (math.log(BASE_PERPLEXITY.get(lang, 30.0)) + rng.normal(0, 0.3, plan.n_sentences))
        * tokens[lang]
        for lang in plan.languages
    }
    rows = []
    for name, kind, control_of, set_language, seed, n in variants:
        for lang in [set_language] if control_of and set_language else plan.languages:
            lost = _nats_lost(plan, kind, set_language, lang, seed, rng)
            spread = 0.0 if kind == "base" else 0.15 * abs(lost) + 1e-3
            loss = base[lang] + rng.normal(lost, spread, plan.n_sentences) * tokens[lang]
            head = _mark(plan, f"ppl-{name}") | {
                "selection": SELECTION,
                "variant": name,
                "kind": kind,
                "control_of": control_of,
                "set_language": set_language,
                "seed": seed,
                "n_neurons": n,
                "language": lang,
            }
            rows += [
                head | {"sentence": s, "nll_nats": float(loss[s]), "n_tokens": int(tokens[lang][s])}
                for s in range(plan.n_sentences)
            ]
    return pa.Table.from_pylist(rows)


def _nats_lost(
    plan: Plan, kind: str, own: str | None, lang: str, seed: int | None, rng: np.random.Generator
) -> float:
    if kind == "shared":
        return plan.strength * float(rng.uniform(0.8, 1.6))
    if kind in ("exclusive", "strict_exclusive"):
        if own == "de":
            return -0.02
        return float(rng.uniform(1.2, 2.2)) if own == lang else float(rng.uniform(0.1, 1.1))
    if kind == "control":
        return 1.1 if (seed, lang, own) == (3, "th", None) else float(rng.normal(0.01, 0.03))
    if kind in ("impact_control", "language_control"):
        return plan.explained * plan.strength + float(rng.uniform(0.1, 0.3))
    return 0.0


def _metrics(selection: Selection, losses: pa.Table) -> Iterator[dict[str, Any]]:
    def of(variant: str, language: str) -> Losses:
        mask = pc.and_(pc.equal(losses["variant"], variant), pc.equal(losses["language"], language))
        rows = losses.filter(mask)
        return Losses.from_columns(*(rows[c].to_numpy() for c in ("sentence", "nll_nats", "n_tokens")))

    measured = {
        lang: LanguageLosses(
            of("base", lang), of("shared", lang), of(f"exclusive-{lang}" if n else "base", lang), n
        )
        for lang, n in selection.n_exclusive().items()
    }
    for found in measures_of(len(selection.shared), measured, n_bootstrap=200):
        yield asdict(found)


def _corpora(plan: Plan) -> Iterator[dict[str, Any]]:
    for i, lang in enumerate(plan.languages):
        yield _mark(plan, f"corpus-{lang}") | {
            "weights": "f00d",
            "language": lang,
            "source": "embedded",
            "revision": "1",
            "sha": f"{i}f3a9c2d1e4b5a6978",
            "n_read": 160,
            "n_detection": 100,
            "detect_in": "sentences",
            "n_heldout": plan.n_sentences,
            "n_tokens_detection": 2400 + 31 * i,
            "n_tokens_heldout": 700 + 13 * i,
            "n_cut": 2 * i,
            "dropped_json": json.dumps({"too_short": 7, "duplicate": i}),
            "doubts_json": json.dumps(["Of 9 sentences of sw only 3 look like that language."] * (i == 1)),
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
        "failures_json": "[]",
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
        partitions = {"model": rows["model"][0].as_py()} if TABLES[name].partitioned_by_model else {}
        store.write(name, rows, unit, partitions)


def list_units(store: Store, run_id: str = "run-0001", units: Collection[str] | None = None) -> Store:
    """Lists the stored units, or those among them that are named, as what a run studied; the store."""
    listed: dict[str, dict[tuple[str, str], None]] = {}
    parts = (
        "impacts",
        "controls",
        "neuron_sets",
        "sensitivity",
        "samples",
        "validations",
    )  # listed with the rest of their units
    for table in (name for name, spec in TABLES.items() if not spec.about_runs and name not in parts):
        rows = store.read(table).select(["model", "unit"]).to_pylist()
        for row in rows:
            if units is None or row["unit"] in units:
                listed.setdefault(row["model"], {})[table, row["unit"]] = None
    for model, pairs in listed.items():
        rows = [{"run_id": run_id, "model": model, "table": table, "unit": unit} for table, unit in pairs]
        table = pa.Table.from_pylist(rows, schema=TABLES["studies"].schema)
        store.write("studies", table, f"studies:{run_id}", {"model": model})
    return store


def studied(store: Store) -> Report:
    """The report of a run that studied all that the store holds."""
    return read_report(list_units(store), "run-0001")
