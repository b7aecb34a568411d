"""Stage evaluation: benchmark scores of the base model and its variants, from one engine start."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyneuron.eval.samples import sample_mmmlu_files
from polyneuron.eval.store.schemas import SCORES
from polyneuron.eval.tasks.benchmarks import BenchmarkTask, Unavailable, task_of
from polyneuron.pipelines.config.evaluation import EvaluationConfig
from polyneuron.pipelines.run.ledger import Ledger, stage_unit
from polyneuron.pipelines.run.progress import bar, say
from polyneuron.pipelines.run.record import versions
from polyneuron.pipelines.run.slot import JudgingEngine
from polyneuron.pipelines.stages.variants import Variant

Asked = BenchmarkTask | Unavailable
"""A benchmark in a language that a configuration asks for."""

_DECIDING = ("lm-eval", "vllm", "transformers", "torch")
"""The libraries whose versions are part of what decides a score."""


def benchmark_tasks(config: EvaluationConfig, languages: Sequence[str]) -> list[Asked]:
    """Every benchmark in every language that is judged, which are `languages` unless the section names its own."""
    files = (sample_mmmlu_files() if config.data == "sample" else {}) | config.mmmlu_files
    return [
        task_of(**dict(benchmark), language=language, mmmlu_files=files)
        for benchmark in config.benchmarks
        for language in config.languages or languages
    ]


def evaluate(
    ledger: Ledger,
    engine: JudgingEngine,
    variants: Sequence[Variant],
    tasks: Sequence[Asked],
    night: str | None = None,
) -> list[str]:
    """Runs what is missing, variant by variant; each (variant, benchmark, language) is stored when it is done.

    A variant is judged on its `judged_on` alone. Returns the units of all, in the order of `variants`.

    Raises:
        BenchmarkError: data that cannot be used. SetError: a change that does not fit the model.
        EngineError, ClusterError: the engine cannot start, or dies again and again.
    """
    scoring = _Scoring(ledger, engine, tasks, night)
    asked = scoring.asked(variants)
    units = [unit for *_, unit in asked]
    missing = ledger.missing("scores", units)
    todo = [each for each in asked if each[-1] in missing]
    if not todo:
        say("  benchmarks: all scores are in the store")
        return units
    if not engine.runs and any(isinstance(task, BenchmarkTask) for _, task, _ in todo):
        say(f"  starting {engine.settings.backend} for {ledger.model}")
    with bar(f"benchmarks, {len(variants)} variants") as report:
        for number, (variant, task, unit) in enumerate(todo):
            scoring.score(variant, task, unit)
            report(number + 1, len(todo))
    say(f"  judged {', '.join(str(variant.name) for variant in variants)}")
    return units


def units_to_judge(
    ledger: Ledger,
    engine: JudgingEngine,
    variants: Sequence[Variant],
    tasks: Sequence[Asked],
    night: str | None = None,
) -> list[str]:
    """The units that `evaluate` returns, without judging. Raises BenchmarkError for data that cannot be used."""
    return [unit for *_, unit in _Scoring(ledger, engine, tasks, night).asked(variants)]


class _Scoring:
    """Scores variants of one model on tasks, and stores the scores."""

    def __init__(
        self, ledger: Ledger, engine: JudgingEngine, tasks: Sequence[Asked], night: str | None
    ) -> None:
        """Bad data are refused here, before anything is started; their revisions are part of the units' keys."""
        self._ledger, self._engine, self._night, self._tasks = ledger, engine, night, tasks
        self._located = {task: engine.data.locate(task) for task in tasks if isinstance(task, BenchmarkTask)}
        settings = engine.settings
        self._settings: Mapping[str, Any] = {
            "bos": settings.add_bos,
            "versions": {name: found for name, found in versions().items() if name in _DECIDING},
            **{
                name: getattr(settings, name)
                for name in ("backend", "device", "dtype", "max_model_len", "seed")
            },
        }

    def asked(self, variants: Sequence[Variant]) -> list[tuple[Variant, Asked, str]]:
        """Every variant with each of the tasks that it is judged on, and the unit of the two."""
        return [
            (variant, task, self.unit(variant, task))
            for variant in variants
            for task in self._tasks
            if variant.judged_on is None or (task.asked_for, task.language) in variant.judged_on
        ]

    def unit(self, variant: Variant, task: Asked) -> str:
        """The key of one variant's scores."""
        data = self._located[task] if isinstance(task, BenchmarkTask) else None
        return stage_unit(
            "evaluate",
            model=self._engine.model.label,
            weights=self._engine.model.fingerprint,
            variant=str(variant.name),
            change=variant.fingerprint,
            night=self._night,
            benchmark=task.asked_for,
            language=task.language,
            revision=None if data is None else data.revision,
            data=None if data is None else data.kind,
            **self._settings_of(task),
        )

    def score(self, variant: Variant, task: Asked, unit: str) -> None:
        """Scores one variant on one benchmark in one language, and stores them; or why there are none."""
        where = {"variant": str(variant.name)}
        asked: dict[str, Any] = {"night": self._night, "benchmark": task.asked_for, "language": task.language}
        about = dict.fromkeys(_COLUMNS) | asked | variant.name.columns() | {"n_neurons": variant.n_neurons}
        about |= {name: self._settings[name] for name in ("backend", "dtype", "bos")}
        about |= {"settings_json": json.dumps(self._settings_of(task), sort_keys=True)}
        if isinstance(task, Unavailable):
            unscored = about | _UNSCORED | {"null_reason": task.reason}
            return self._ledger.put("scores", unit, [unscored], **where)
        data = self._located[task]
        about |= {
            "stand_in": task.stand_in,
            "n_shots": task.n_shots,
            "max_gen_toks": task.max_gen_toks,
            "dataset": task.benchmark.dataset if task.user_file is None else Path(task.user_file).name,
            "revision": data.revision,
            "data": data.kind,
        }
        judged = self._engine.judge().call("evaluate", variant.change, task)
        self._ledger.put("samples", unit, [asked | row for row in judged.samples], **where)
        self._ledger.put("scores", unit, [about | row for row in judged.scores], **where)

    def _settings_of(self, task: Asked) -> dict[str, Any]:
        if isinstance(task, Unavailable):
            return {**self._settings, "task": None}
        own = {name: getattr(task, name) for name in ("n_shots", "max_gen_toks", "max_items")}
        return {**self._settings, "task": task.lm_eval_name, **own}


_COLUMNS = [name for name in SCORES.schema.names if name not in ("run_id", "unit", "model")]
_UNSCORED = {"metric": "none", "filter": "none", "primary": True, "n": 0, "n_unscored": 0, "data": "none"}
"""What stands in the row of a benchmark that lacks the language, beside nulls."""
