"""Rows of the tables training, validations and perplexities for trained variants, small enough to check by eye."""

from __future__ import annotations

import json
import math
from typing import Any

import pyarrow as pa

from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from tests.eval.report.benchmark_rows import MODEL, RUN, add, score, verdict
from tests.eval.report.synthetic import SELECTION

Rows = list[dict[str, Any]]


def name_of(strategy: str, language: str, seed: int | None = None) -> str:
    return f"tuned-{strategy}-{language}" + ("" if seed is None else f"-{seed}")


def steps(strategy: str, language: str, losses: list[float], seed: int | None = None, **other: Any) -> Rows:
    """A training of ``len(losses)`` steps of 100 tokens each, of 12 neurons with 240 numbers. ``strategy``: for random neurons
    with the set that they are as many as, such as random-shared."""
    kind, _, control_of = strategy.partition("-")
    return [
        {
            "model": MODEL,
            "variant": name_of(strategy, language, seed),
            "strategy": kind,
            "control_of": control_of or None,
            "reason": f"{strategy} was asked for",
            "language": language,
            "seed": seed or 0,
            "n_neurons": 12,
            "n_trainable": 240,
            "step": step,
            "loss_nats": loss,
            "learning_rate": 5e-5,
            "gradient_norm": 1.0,
            "n_tokens": 100,
            "edit": None,
        }
        | other
        for step, loss in enumerate(losses)
    ]


def checks(variant: str, language: str, nats: dict[int, float], kept: int, **other: Any) -> Rows:
    """Validation after the steps in ``nats``, given per token, over 50 tokens."""
    return [
        {
            "model": MODEL,
            "variant": variant,
            "step": step,
            "language": language,
            "nll_nats": 50 * value,
            "n_tokens": 50,
            "kept": step == kept,
        }
        | other
        for step, value in nats.items()
    ]


def perplexities(
    store: Store, variant: str, ratios: dict[str, float], model: str = MODEL, **other: Any
) -> Rows:
    """A trained variant whose perplexity is the base's times the ratio on every sentence, so without spread."""
    base = [
        row
        for row in store.read("perplexities", [("model", "=", model)]).to_pylist()
        if row["variant"] == "base" and row["language"] in ratios
    ]
    head = {
        "model": model,
        "selection": SELECTION,
        "variant": variant,
        "kind": "tuned",
        "control_of": None,
        "set_language": variant.removeprefix("tuned-random-").removeprefix("tuned-").split("-")[1],
        "seed": 0,
        "n_neurons": 12,
    }
    return [
        head
        | {
            "language": row["language"],
            "sentence": row["sentence"],
            "nll_nats": row["nll_nats"] + math.log(ratios[row["language"]]) * row["n_tokens"],
            "n_tokens": row["n_tokens"],
        }
        | other
        for row in base
    ]


def put_rows(store: Store, table: str, rows: Rows, mark: str = "", run_id: str = RUN) -> list[str]:
    """One unit a variant, as the stages write them; the units."""
    units = []
    for name in dict.fromkeys(row["variant"] for row in rows):
        part = [row for row in rows if row["variant"] == name]
        units.append(f"training:{run_id}:{mark}:{part[0]['model']}:{name}")
        marked = [{"run_id": run_id, "unit": units[-1]} | row for row in part]
        partitions = {"model": part[0]["model"]}
        store.write(table, pa.Table.from_pylist(marked, schema=TABLES[table].schema), units[-1], partitions)
    return units


def put_mixture(store: Store, mixture: object, run_id: str = "run-0002") -> None:
    """A run, started after all others, whose configuration trains on ``mixture``."""
    row = dict.fromkeys(TABLES["runs"].schema.names) | {
        "run_id": run_id,
        "unit": f"run:{run_id}",
        "started_at": "2026-11-23T00:00:00+00:00",
        "status": "finished",
        "config_json": json.dumps({"training": {"mixture": mixture}}),
    }
    store.write("runs", pa.Table.from_pylist([row], schema=TABLES["runs"].schema), row["unit"])


def tuned_score(
    strategy: str, language: str, value: float | None, asked: str = "", **other: Any
) -> dict[str, Any]:
    """A score of MMMLU in ``asked``, by default the language trained for."""
    kind = {"kind": "tuned", "set_language": language}
    return score(name_of(strategy, language, other.get("seed")), asked or language, value, **(kind | other))


def usual_training(store: Store, model: str = MODEL, languages: tuple[str, ...] = ("sw", "th")) -> list[str]:
    """Shared and exclusive neurons, and as many random ones as each, trained for each language, validated on it and on English,
    and judged.

    Shared: better by 4 points and ×0.9; exclusive: no evidence and ×0.99; random: nothing.
    """
    units: list[str] = []
    gains = {
        "shared": (0.04, 0.9, "better"),
        "exclusive": (0.01, 0.99, "no evidence"),
        "random-shared": (0.0, 1.0, "no evidence"),
        "random-exclusive": (0.0, 1.0, "no evidence"),
    }
    scores, verdicts = [], []
    for language in languages:
        scores.append(score("base", language, 0.5, model=model))
        for strategy, (gain, ratio, found) in gains.items():
            name = name_of(strategy, language)
            losses = [3.0 - 10 * gain * step / 40 for step in range(40)]
            units += put_rows(store, "training", steps(strategy, language, losses, model=model))
            nats = {step: 3.0 - 10 * gain * step / 40 for step in (0, 20, 40)}
            rows = checks(name, language, nats, kept=40, model=model)
            rows += checks(name, "en", {step: 2.5 + gain * step / 20 for step in nats}, kept=40, model=model)
            units += put_rows(store, "validations", rows)
            units += put_rows(
                store, "perplexities", perplexities(store, name, {language: ratio, "en": 1.2}, model)
            )
            scores.append(tuned_score(strategy, language, 0.5 + gain, model=model))
            verdicts.append(verdict(name, language, gain, found, model=model))
            if "random" not in strategy:
                random = name_of(f"random-{strategy}", language)
                verdicts.append(verdict(name, language, gain, found, baseline=random, model=model))
    return units + add(store, scores, verdicts)
