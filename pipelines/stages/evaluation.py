"""Stage 7: benchmark scores of the base model and its variants, from one engine start; then paired verdicts."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from polyneuron.eval.tasks.benchmarks import BenchmarkTask, Unavailable, task_of
from polyneuron.neuron_core.sets.variant_name import BASE, VariantName
from polyneuron.pipelines.run.progress import bar, say
from polyneuron.pipelines.run.record import versions
from polyneuron.pipelines.run.subject import Subject
from polyneuron.pipelines.run.units import evaluation_unit
from polyneuron.pipelines.stages.selection import Selected, Variant

if TYPE_CHECKING:
    from polyneuron.eval.engines.settings import Change
    from polyneuron.eval.tasks.benchmark_data import Located


@dataclass(frozen=True)
class Judged:
    """A variant to be judged: the base model with `change`, and what it stands for.

    beside: variants it is compared with, apart from the base model and its controls. judged_on: (benchmark, language)
    pairs, None for all.
    """

    name: VariantName
    change: Change
    n_neurons: int = 0
    beside: tuple[VariantName, ...] = ()
    judged_on: frozenset[tuple[str, str]] | None = None

    @property
    def fingerprint(self) -> str:
        """Of the change; "none" for the base model."""
        return "none" if self.change is None else self.change.fingerprint()


def deactivated(variant: Variant) -> Judged:
    """A variant of the selection with its neurons set to zero; the base model as it is."""
    from polyneuron.neuron_core.edits.weight_edit import WeightEdit

    return Judged(
        variant.name,
        WeightEdit.zero(variant.neurons, str(variant.name)) if variant.name != BASE else None,
        len(variant.neurons),
    )


def judged_variants(selected: Selected, patterns: Sequence[str]) -> list[Judged]:
    """The base model, and the deactivations whose names match a pattern; empty sets are the base model."""
    named = [
        deactivated(variant)
        for variant in selected.variants
        if len(variant.neurons)
        and any(fnmatch.fnmatchcase(str(variant.name), pattern) for pattern in patterns)
    ]
    return [Judged(BASE, None), *named]


def evaluate(
    subject: Subject, store: Store, run_id: str, judged: Sequence[Judged], night: str | None = None
) -> list[str]:
    """Runs what is missing, variant by variant; each (variant, benchmark, language) is stored when it is done.

    A variant is judged on its `judged_on` alone. Returns the units of all, in the order of `judged`.

    Raises:
        BenchmarkError: data that cannot be used. SetError: a change that does not fit the model.
        EngineError, ClusterError: the engine cannot start, or dies again and again.
    """
    tasks = _tasks(subject)
    work = _Work.of(subject, tasks, night)
    asked = [
        (variant, task)
        for variant in judged
        for task in tasks
        if variant.judged_on is None or (task.asked_for, task.language) in variant.judged_on
    ]
    units = {(variant.name, task): work.unit(variant, task) for variant, task in asked}
    missing = set(store.missing("scores", list(units.values())))
    todo = [(variant, task) for variant, task in asked if units[variant.name, task] in missing]
    if not todo:
        say("  benchmarks: all scores are in the store")
        return list(units.values())
    if not subject.has_judge and any(isinstance(task, BenchmarkTask) for _, task in todo):
        say(f"  starting {subject.config.evaluation.engine.backend} for {subject.name}")
    with bar(f"benchmarks, {len(judged)} variants") as report:
        for number, (variant, task) in enumerate(todo):
            work.judge(store, run_id, variant, task, units[variant.name, task])
            report(number + 1, len(todo))
    say(f"  judged {', '.join(str(variant.name) for variant in judged)}")
    return list(units.values())


def _tasks(subject: Subject) -> list[BenchmarkTask | Unavailable]:
    evaluation = subject.config.evaluation
    files = dict(evaluation.mmmlu_files)
    if evaluation.data == "sample":
        from polyneuron.eval.samples import sample_mmmlu_files

        files = sample_mmmlu_files() | files
    return [
        task_of(
            b.name,
            language,
            n_shots=b.n_shots,
            max_gen_toks=b.max_gen_toks,
            max_items=b.max_items,
            mmmlu_files=files,
        )
        for b in evaluation.benchmarks
        for language in evaluation.languages or subject.config.languages
    ]


_DECIDING = ("lm-eval", "vllm", "transformers", "torch")


@dataclass(frozen=True)
class _Work:
    """What all (variant, benchmark, language) of one model have in common.

    located: the data of every task; settings: what decides the scores beside model, variant, task and data.
    """

    subject: Subject
    located: Mapping[BenchmarkTask, Located]
    settings: Mapping[str, Any]
    night: str | None

    @staticmethod
    def of(subject: Subject, tasks: Sequence[BenchmarkTask | Unavailable], night: str | None) -> _Work:
        """Bad data are refused here, before anything is started; their revisions are part of the units' keys."""
        data = subject.benchmark_data()
        engine = subject.engine_settings()
        settings = {
            "backend": engine.backend,
            "dtype": engine.dtype,
            "bos": engine.add_bos,
            "max_model_len": engine.max_model_len,
            "seed": engine.seed,
            "versions": {name: found for name, found in versions().items() if name in _DECIDING},
        }
        located = {task: data.locate(task) for task in tasks if isinstance(task, BenchmarkTask)}
        return _Work(subject, located, settings, night)

    def unit(self, variant: Judged, task: BenchmarkTask | Unavailable) -> str:
        """Key of one variant's scores."""
        data = self.located[task] if isinstance(task, BenchmarkTask) else None
        return evaluation_unit(
            self.subject.name,
            self.subject.fingerprint,
            str(variant.name),
            variant.fingerprint,
            self.night,
            benchmark=task.asked_for,
            language=task.language,
            revision=None if data is None else data.revision,
            data=None if data is None else data.kind,
            **self._settings_of(task),
        )

    def judge(
        self, store: Store, run_id: str, variant: Judged, task: BenchmarkTask | Unavailable, unit: str
    ) -> None:
        """Scores one variant on one benchmark in one language, and stores them; or why there are none."""
        common: dict[str, Any] = {
            "model": self.subject.name,
            "variant": str(variant.name),
            "night": self.night,
            "benchmark": task.asked_for,
            "language": task.language,
        }
        about = (
            common
            | variant.name.columns()
            | {
                "n_neurons": variant.n_neurons,
                "backend": self.settings["backend"],
                "dtype": self.settings["dtype"],
                "bos": self.settings["bos"],
                "settings_json": json.dumps(self._settings_of(task), sort_keys=True),
            }
        )
        if isinstance(task, Unavailable):
            rows = [about | _UNSCORED | {"data": "none", "null_reason": task.reason}]
            _write(store, "scores", rows, unit, run_id, str(variant.name))
            return
        data = self.located[task]
        about |= {
            "stand_in": task.stand_in,
            "n_shots": task.n_shots,
            "max_gen_toks": task.max_gen_toks,
            "dataset": task.benchmark.dataset if task.user_file is None else Path(task.user_file).name,
            "revision": data.revision,
            "data": data.kind,
        }
        found = self.subject.judge().call("evaluate", variant.change, task)
        # Scores last: a unit counts as done when its scores are there.
        _write(store, "samples", [common | row for row in found.samples], unit, run_id, str(variant.name))
        _write(store, "scores", [about | row for row in found.scores], unit, run_id, str(variant.name))

    def _settings_of(self, task: BenchmarkTask | Unavailable) -> dict[str, Any]:
        if isinstance(task, Unavailable):
            return {**self.settings, "task": None}
        return {
            **self.settings,
            "task": task.lm_eval_name,
            "n_shots": task.n_shots,
            "max_gen_toks": task.max_gen_toks,
            "max_items": task.max_items,
        }


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
