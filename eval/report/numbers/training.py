"""The trained variants of one model: what was trained for which languages, and how its losses went step by step."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = dict[str, Any]
RANDOM = "random"
EMBEDDED = "embedded"
STRATEGIES = {
    "shared": "the shared neurons",
    "exclusive": "the exclusive neurons",
    "related": "the related neurons",
    RANDOM: "random neurons",
    "full": "the whole model",
    "lora": "a LoRA adapter",
}
"""What each strategy trains, in the order of the tables."""


@dataclass(frozen=True)
class Validation:
    """Nats per token of one language after so many steps. ``kept``: the step whose values became the variant."""

    steps: NDArray[np.int64]
    nats: NDArray[np.float64]
    kept: int | None

    def at(self, step: int | None) -> float | None:
        found = np.flatnonzero(self.steps == step)
        return float(self.nats[found[0]]) if len(found) else None


@dataclass(frozen=True)
class Training:
    """One trained variant.

    ``losses`` [steps]: nats per token of each global batch, before its step; ``tokens`` [steps]. ``corpora``: the
    mixture the run was configured with, empty when its configuration is not stored. ``stale_validation``: the
    store's validation belongs to another training of this name and is left out.
    """

    name: str
    strategy: str
    reason: str
    languages: tuple[str, ...]
    seed: int
    n_neurons: int
    n_trainable: int
    steps: NDArray[np.int64]
    losses: NDArray[np.float64]
    tokens: NDArray[np.int64]
    corpora: tuple[str, ...] = ()
    validations: dict[str, Validation] = field(default_factory=dict)
    stale_validation: bool = False

    @property
    def n_steps(self) -> int:
        return len(self.steps)

    @property
    def n_tokens(self) -> int:
        return int(self.tokens.sum())

    @property
    def kept(self) -> int | None:
        return next((v.kept for v in self.validations.values() if v.kept is not None), None)

    @property
    def scope(self) -> str:
        """The languages of a joint training, as stored; empty for a training on one language."""
        return "+".join(self.languages) if len(self.languages) > 1 else ""


@dataclass(frozen=True)
class Arm:
    """A row of Table 1: one strategy and seed, and the variant it gave for each language.

    ``scope``: empty, or the languages trained together, which then share one variant.
    """

    strategy: str
    scope: str
    seed: int
    trained: dict[str, Training]


def trainings_of(
    training: list[Row], validations: list[Row], runs: list[Row], languages: tuple[str, ...]
) -> tuple[Training, ...]:
    """Rows of the tables training and validations as variants: by language, then by strategy and seed."""
    corpora = {row["run_id"]: _corpora(row["config_json"]) for row in runs}
    steps, checks = _by_variant(training), _by_variant(validations)
    found = [_training(rows, checks.get(name, []), corpora) for name, rows in steps.items()]

    def place(one: Training) -> tuple[int, list[int], list[str], int, str, int]:
        known = [languages.index(code) if code in languages else len(languages) for code in one.languages]
        return len(known), known, list(one.languages), strategy_place(one.strategy), one.strategy, one.seed

    return tuple(sorted(found, key=place))


def arms_of(trainings: Iterable[Training]) -> list[list[Arm]]:
    """The rows of Table 1, a list for each strategy with an arm for each of its seeds; joint trainings last."""
    found: dict[tuple[str, str], dict[int, Arm]] = {}
    for one in sorted(trainings, key=lambda t: (t.scope, strategy_place(t.strategy), t.strategy, t.seed)):
        arms = found.setdefault((one.scope, one.strategy), {})
        arm = arms.setdefault(one.seed, Arm(one.strategy, one.scope, one.seed, {}))
        arm.trained.update(dict.fromkeys(one.languages, one))
    return [list(arms.values()) for arms in found.values()]


def twin_of(trainings: Iterable[Training], one: Training) -> Training | None:
    """The random neurons trained for the same languages with the same seed."""
    if one.strategy == RANDOM:
        return None
    alike = (t for t in trainings if (t.strategy, t.languages, t.seed) == (RANDOM, one.languages, one.seed))
    return next(alike, None)


def several_seeds(trainings: Iterable[Training]) -> bool:
    return len({one.seed for one in trainings}) > 1


def strategy_place(strategy: str) -> int:
    names = list(STRATEGIES)
    return names.index(strategy) if strategy in names else len(names)


def _training(rows: list[Row], checks: list[Row], corpora: dict[str, tuple[str, ...]]) -> Training:
    rows = sorted(rows, key=lambda row: row["step"])
    first = rows[0]
    own = [row for row in checks if row["unit"] == first["unit"] or row["run_id"] == first["run_id"]]
    by_language: dict[str, list[Row]] = {}
    for row in sorted(own, key=lambda row: row["step"]):
        by_language.setdefault(row["language"], []).append(row)
    return Training(
        name=first["variant"],
        strategy=first["strategy"],
        reason=first["reason"],
        languages=tuple(first["language"].split("+")),
        seed=first["seed"],
        n_neurons=first["n_neurons"],
        n_trainable=first["n_trainable"],
        steps=np.array([row["step"] for row in rows], np.int64),
        losses=np.array([row["loss_nats"] for row in rows], np.float64),
        tokens=np.array([row["n_tokens"] for row in rows], np.int64),
        corpora=corpora.get(first["run_id"], ()),
        validations={language: _validation(rows) for language, rows in by_language.items()},
        stale_validation=len(own) < len(checks),
    )


def _validation(rows: list[Row]) -> Validation:
    return Validation(
        np.array([row["step"] for row in rows], np.int64),
        np.array([row["nll_nats"] / max(1, row["n_tokens"]) for row in rows], np.float64),
        next((row["step"] for row in rows if row["kept"]), None),
    )


def _corpora(config_json: str | None) -> tuple[str, ...]:
    """The corpora that a run's configuration trains on."""
    section = json.loads(config_json or "{}").get("training") or {}
    mixture = section.get("mixture") or ()
    return (mixture,) if isinstance(mixture, str) else tuple(mixture)


def _by_variant(rows: list[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["variant"], []).append(row)
    return found
