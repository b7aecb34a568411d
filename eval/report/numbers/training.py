"""The trained variants of one model: what was trained for which languages, and how its losses went step by step."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from polyneuron.eval.report.numbers.units import Row

RANDOM = "random"
EMBEDDED = "embedded"
STRATEGIES = ("shared", "exclusive", "related", RANDOM, "full", "lora")
"""What can be trained, in the order of the tables."""
_SHOWN = ("strategy", "control_of", "reason", "seed", "n_neurons", "n_trainable")
"""Columns of the table training that are shown as they are."""


@dataclass(frozen=True, slots=True)
class ShownValidation:
    """Nats per token of one language after so many steps. ``kept``: the step whose values became the variant."""

    steps: NDArray[np.int64]
    nats: NDArray[np.float64]
    kept: int | None

    def at(self, step: int | None) -> float | None:
        """Nats per token after a step, where it was validated."""
        places = np.flatnonzero(self.steps == step)
        return float(self.nats[places[0]]) if len(places) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownTraining:
    """One trained variant, and how its losses went."""

    name: str
    """Of the variant, as stored."""
    strategy: str
    """What was trained: one of `STRATEGIES`, or a name from outside."""
    reason: str
    """Why this strategy."""
    languages: tuple[str, ...]
    """Trained for these, together."""
    seed: int
    """Of the training."""
    n_neurons: int
    """Neurons that could change."""
    n_trainable: int
    """Single weights that could change."""
    steps: NDArray[np.int64]
    """Numbers of the optimizer's steps, [steps]."""
    losses: NDArray[np.float64]
    """Nats per token of each global batch, before its step, [steps]."""
    tokens: NDArray[np.int64]
    """Predicted tokens of each global batch, [steps]."""
    control_of: str | None = None
    """The strategy whose set random neurons are as many as."""
    corpora: tuple[str, ...] = ()
    """The mixture that its run was configured with; empty when that is not stored."""
    validations: Mapping[str, ShownValidation] = field(default_factory=dict)
    """By language."""

    @property
    def label(self) -> str:
        """What was trained, and for random neurons the set that they are as many as."""
        return f"{self.strategy} as {self.control_of}" if self.control_of else self.strategy

    @property
    def n_steps(self) -> int:
        """How many steps were taken."""
        return len(self.steps)

    @property
    def n_tokens(self) -> int:
        """How many tokens were predicted in all steps."""
        return int(self.tokens.sum())

    @property
    def kept(self) -> int | None:
        """The step whose values became the variant, where validation chose one."""
        return next((v.kept for v in self.validations.values() if v.kept is not None), None)

    @property
    def scope(self) -> str:
        """The languages of a joint training, as stored; empty for a training on one language."""
        return "+".join(self.languages) if len(self.languages) > 1 else ""

    @property
    def only_embedded(self) -> bool:
        """Whether the documents were the embedded sample alone, which can teach a model nothing."""
        return self.corpora == (EMBEDDED,)


def trainings_of(
    training: list[Row], validations: list[Row], runs: list[Row], languages: Sequence[str]
) -> tuple[ShownTraining, ...]:
    """Rows of the tables training and validations as variants: by language, then by strategy and seed."""
    corpora = {row["run_id"]: _corpora(row["config_json"]) for row in runs}
    checks = _grouped(validations, "variant")
    steps = _grouped(training, "variant")
    found = [_training(rows, checks.get(name, []), corpora) for name, rows in steps.items()]

    def place(training: ShownTraining) -> tuple[object, ...]:
        known = [languages.index(c) if c in languages else len(languages) for c in training.languages]
        return len(known), known, training.languages, *_place(training)

    return tuple(sorted(found, key=place))


def arms_of(trainings: Iterable[ShownTraining]) -> list[dict[int, dict[str, ShownTraining]]]:
    """The rows of Table 1: for each strategy, and each set of languages trained together, by seed and language. Joint trainings
    come last; their languages share one variant."""
    arms: dict[tuple[str, str], dict[int, dict[str, ShownTraining]]] = {}  # by languages and what was trained
    for training in sorted(trainings, key=lambda t: (t.scope, *_place(t))):
        arm = arms.setdefault((training.scope, training.label), {}).setdefault(training.seed, {})
        arm.update(dict.fromkeys(training.languages, training))
    return list(arms.values())


def twin_of(trainings: Iterable[ShownTraining], training: ShownTraining) -> ShownTraining | None:
    """The random neurons that are as many and were trained for the same languages with the same seed, where there are any."""
    wanted = training.strategy, training.languages, training.seed
    return next((t for t in trainings if (t.control_of, t.languages, t.seed) == wanted), None)


def several_seeds(trainings: Iterable[ShownTraining]) -> bool:
    """Whether seeds must be told apart."""
    return len({training.seed for training in trainings}) > 1


def trained_languages(trainings: Iterable[ShownTraining]) -> list[str]:
    """Every language that a variant was trained for, once."""
    return list(dict.fromkeys(code for training in trainings for code in training.languages))


def _place(training: ShownTraining) -> tuple[int, int, str, int]:
    kinds = (training.strategy, training.control_of)
    at, of = (STRATEGIES.index(name) if name in STRATEGIES else len(STRATEGIES) for name in kinds)
    return at, of, training.label, training.seed


def _training(rows: list[Row], checks: list[Row], corpora: Mapping[str, tuple[str, ...]]) -> ShownTraining:
    rows = sorted(rows, key=lambda row: row["step"])
    first = rows[0]
    own = [row for row in checks if row["unit"] == first["unit"]]  # not of another training of this name
    return ShownTraining(
        name=first["variant"],
        languages=tuple(first["language"].split("+")),
        **{name: first[name] for name in _SHOWN},
        steps=np.array([row["step"] for row in rows], np.int64),
        losses=np.array([row["loss_nats"] for row in rows], np.float64),
        tokens=np.array([row["n_tokens"] for row in rows], np.int64),
        corpora=corpora.get(first["run_id"], ()),
        validations={code: _validation(rows) for code, rows in _grouped(own, "language").items()},
    )


def _validation(rows: list[Row]) -> ShownValidation:
    rows = sorted(rows, key=lambda row: row["step"])
    return ShownValidation(
        np.array([row["step"] for row in rows], np.int64),
        np.array([row["nll_nats"] / max(1, row["n_tokens"]) for row in rows], np.float64),
        next((row["step"] for row in rows if row["kept"]), None),
    )


def _corpora(config_json: str | None) -> tuple[str, ...]:
    """The corpora that a run's configuration trains on."""
    section = json.loads(config_json or "{}").get("training") or {}
    mixture = section.get("mixture") or ()
    return (mixture,) if isinstance(mixture, str) else tuple(mixture)


def _grouped(rows: list[Row], column: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found
