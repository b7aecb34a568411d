"""Stage 6: benchmark scores of the base model and its variants, from one engine start; then paired verdicts."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from eval.benchmarks import TaskPlan, Unavailable, plan_task
from eval.schemas import TABLES
from eval.store import Store
from pipelines.progress import bar, say
from pipelines.runs import versions
from pipelines.stages.selection import Selected, Variant
from pipelines.subject import Subject
from pipelines.units import evaluation_unit

if TYPE_CHECKING:
    from eval.benchmark_data import Located
    from eval.engines.settings import Change

BASE = "base"


@dataclass(frozen=True)
class Judged:
    """A variant to be judged: the base model with `change`, and what it stands for."""

    name: str
    kind: str
    change: Change
    n_neurons: int = 0
    set_language: str | None = None
    control_of: str | None = None
    seed: int | None = None

    @property
    def fingerprint(self) -> str:
        """Of the change; "none" for the base model."""
        return "none" if self.change is None else self.change.fingerprint()


@dataclass(frozen=True)
class Evaluated:
    """What the stage hands on: the unit of every (variant, benchmark, language)."""

    units: dict[tuple[str, str, str], str] = field(default_factory=dict)


def deactivated(variant: Variant) -> Judged:
    """A variant of the selection with its neurons set to zero; the base model as it is."""
    from neuron_core.weight_edit import WeightEdit

    return Judged(
        variant.name,
        variant.kind,
        WeightEdit.zero(variant.neurons, variant.name) if variant.kind != BASE else None,
        len(variant.neurons),
        variant.set_language,
        variant.control_of,
        variant.seed,
    )


def judged_variants(selected: Selected, patterns: Sequence[str]) -> list[Judged]:
    """The base model, and the deactivations whose names match a pattern; empty sets are the base model."""
    named = [
        deactivated(variant)
        for variant in selected.variants
        if len(variant.neurons) and any(fnmatch.fnmatchcase(variant.name, pattern) for pattern in patterns)
    ]
    return [Judged(BASE, BASE, None), *named]


def evaluate(
    subject: Subject, store: Store, run_id: str, judged: Sequence[Judged], night: str | None = None
) -> Evaluated:
    """Runs what is missing, variant by variant; each (variant, benchmark, language) is stored when it is done.

    Raises:
        BenchmarkError: data that cannot be used. SetError: a change that does not fit the model.
        EngineError, ClusterError: the engine cannot start, or dies again and again.
    """
    plans = _plans(subject)
    located = _locate(subject, [plan for plan in plans if isinstance(plan, TaskPlan)])
    done, todo = Evaluated(), list[tuple[Judged, TaskPlan | Unavailable, str]]()
    for variant in judged:
        for plan in plans:
            unit = _unit(subject, variant, plan, located, night)
            done.units[variant.name, plan.asked_for, plan.language] = unit
            todo.append((variant, plan, unit))
    missing = set(store.missing("scores", [unit for *_, unit in todo]))
    todo = [entry for entry in todo if entry[2] in missing]
    if not todo:
        say("  benchmarks: all scores are in the store")
        return done
    if any(isinstance(plan, TaskPlan) for _, plan, _ in todo):
        say(f"  starting {subject.config.evaluation.engine.backend} for {subject.name}")
    title = f"benchmarks, {len(judged)} variants"
    with bar(title) as report:
        for number, (variant, plan, unit) in enumerate(todo):
            _one(subject, store, run_id, variant, plan, unit, located, night)
            report(number + 1, len(todo))
    say(f"  judged {', '.join(variant.name for variant in judged)}")
    return done


def _plans(subject: Subject) -> list[TaskPlan | Unavailable]:
    evaluation = subject.config.evaluation
    files = dict(evaluation.mmmlu_files)
    if evaluation.data == "sample":
        from eval.samples import sample_mmmlu_files

        files = sample_mmmlu_files() | files
    return [
        plan_task(b.name, language, b.n_shots, b.max_gen_toks, b.max_items, files)
        for b in evaluation.benchmarks
        for language in evaluation.languages or subject.config.languages
    ]


def _locate(subject: Subject, plans: Sequence[TaskPlan]) -> Mapping[TaskPlan, Located]:
    """Before anything is started: bad data are refused at once, and the revision is part of a unit's key."""
    from eval.benchmark_data import BenchmarkData

    data = BenchmarkData(subject.config.evaluation.data, subject.config.evaluation.revisions)
    return {plan: data.locate(plan) for plan in plans}


def _settings(subject: Subject, plan: TaskPlan | Unavailable) -> dict[str, Any]:
    """What decides the scores beside model, variant and data."""
    engine = subject.engine_settings()
    return {
        "backend": engine.backend,
        "dtype": engine.dtype,
        "bos": engine.add_bos,
        "max_model_len": engine.max_model_len,
        "seed": engine.seed,
        "versions": {name: found for name, found in versions().items() if name in _DECIDING},
    } | (
        {
            "task": plan.task,
            "n_shots": plan.n_shots,
            "max_gen_toks": plan.max_gen_toks,
            "max_items": plan.max_items,
        }
        if isinstance(plan, TaskPlan)
        else {"task": None}
    )


_DECIDING = ("lm-eval", "vllm", "transformers", "torch")


def _unit(
    subject: Subject,
    variant: Judged,
    plan: TaskPlan | Unavailable,
    located: Mapping[TaskPlan, Located],
    night: str | None,
) -> str:
    data = located[plan] if isinstance(plan, TaskPlan) else None
    return evaluation_unit(
        subject.name,
        subject.fingerprint,
        variant.name,
        variant.fingerprint,
        night,
        benchmark=plan.asked_for,
        language=plan.language,
        revision=None if data is None else data.revision,
        data=None if data is None else data.kind,
        **_settings(subject, plan),
    )


def _one(
    subject: Subject,
    store: Store,
    run_id: str,
    variant: Judged,
    plan: TaskPlan | Unavailable,
    unit: str,
    located: Mapping[TaskPlan, Located],
    night: str | None,
) -> None:
    engine = subject.engine_settings()
    settings = _settings(subject, plan)
    common: dict[str, Any] = {
        "model": subject.name,
        "variant": variant.name,
        "night": night,
        "benchmark": plan.asked_for,
        "language": plan.language,
    }
    about = common | {
        "kind": variant.kind,
        "set_language": variant.set_language,
        "control_of": variant.control_of,
        "seed": variant.seed,
        "n_neurons": variant.n_neurons,
        "backend": engine.backend,
        "dtype": engine.dtype,
        "bos": engine.add_bos,
        "settings_json": json.dumps(settings, sort_keys=True),
    }
    if isinstance(plan, Unavailable):
        rows = [about | _UNSCORED | {"data": "none", "null_reason": plan.reason}]
        _write(store, "scores", rows, unit, run_id, variant.name)
        return
    data = located[plan]
    about |= {
        "stand_in": plan.stand_in,
        "n_shots": plan.n_shots,
        "max_gen_toks": plan.max_gen_toks,
        "dataset": plan.benchmark.dataset if plan.user_file is None else Path(plan.user_file).name,
        "revision": data.revision,
        "data": data.kind,
    }
    found = subject.judge().call("evaluate", variant.change, plan)
    # Scores last: a unit counts as done when its scores are there.
    _write(store, "samples", [common | row for row in found.samples], unit, run_id, variant.name)
    _write(store, "scores", [about | row for row in found.scores], unit, run_id, variant.name)


_UNSCORED: dict[str, Any] = {
    "metric": "none",
    "filter": "none",
    "primary": True,
    "n": 0,
    "n_unscored": 0,
    "value": None,
    "stderr": None,
    "low": None,
    "high": None,
    "interval": None,
    "stand_in": None,
    "task_version": None,
    "n_shots": None,
    "max_gen_toks": None,
    "dataset": None,
    "revision": None,
}


def _write(
    store: Store, table: str, rows: Sequence[Mapping[str, Any]], unit: str, run_id: str, variant: str
) -> None:
    schema = TABLES[table].schema
    named = [name for name in schema.names if name not in ("run_id", "unit")]
    columns = {name: pa.array([row[name] for row in rows], schema.field(name).type) for name in named}
    where = {"model": rows[0]["model"], "variant": variant}
    store.write(table, pa.table(columns), unit, where, run_id=run_id)
