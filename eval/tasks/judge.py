"""Judges variants of one model on benchmarks: an engine, the benchmark tasks, and rows for the store.

A plain class: `pipelines` runs it inside a Ray actor or in its own process, with the same results.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from polyneuron.eval.engines.settings import Engine, EngineSettings, start_engine
from polyneuron.eval.tasks.benchmark_data import BenchmarkData
from polyneuron.eval.tasks.benchmarks import BenchmarkTask
from polyneuron.eval.tasks.harness import Tasks
from polyneuron.eval.tasks.item import Item
from polyneuron.eval.verdicts.statistics import mean_interval, wilson
from polyneuron.neuron_core.measures.perplexity import SentenceNll
from polyneuron.neuron_core.passes.batches import Sentence

if TYPE_CHECKING:
    from polyneuron.eval.engines.settings import Change


@dataclass(frozen=True)
class Evaluation:
    """Rows of the tables `scores` and `samples`, without what the caller knows (model, variant, run)."""

    scores: list[dict[str, Any]]
    samples: list[dict[str, Any]]


class Judge:
    """One engine and everything needed to run tasks on it."""

    def __init__(
        self, settings: EngineSettings, source: str, revisions: Mapping[str, str] | None = None
    ) -> None:
        """Starts the engine. Raises EngineError, ModelError: as `start_engine`."""
        self._data = BenchmarkData(source, revisions)
        self._tasks: dict[BenchmarkTask, Tasks] = {}
        self.settings = settings
        self._engine: Engine = start_engine(settings)

    def evaluate(self, change: Change, task: BenchmarkTask) -> Evaluation:
        """Judges the model on one task under one change. Raises SetError when the change does not fit, BenchmarkError when the
        task's data cannot be used, EngineError when the engine's weights are damaged."""
        tasks = self._tasks_of(task)
        with self._engine.variant(change):
            items = tasks.run(self._engine.lm)
        return Evaluation(self._scores(tasks, items), [asdict(item) for item in items])

    def sentence_nlls(
        self, changes: Sequence[Change], sentences: Sequence[Sentence]
    ) -> list[list[SentenceNll]]:
        """NLL of every sentence under every change, in the order of `neuron_core.perplexity.sentence_nlls`."""
        by_change = []
        for change in changes:
            with self._engine.variant(change):
                by_change.append(self._engine.sentence_nlls(sentences))
        return by_change

    def lives(self) -> bool:
        """Whether the engine and its processes run."""
        return self._engine.lives()

    def close(self) -> None:
        """Ends the engine and its processes."""
        self._engine.close()

    def _tasks_of(self, task: BenchmarkTask) -> Tasks:
        if task not in self._tasks:
            self._tasks[task] = Tasks(task, self._data.locate(task))
        return self._tasks[task]

    def _scores(self, tasks: Tasks, items: Sequence[Item]) -> list[dict[str, Any]]:
        rows, task = [], tasks.task
        for metric, filter_name in dict.fromkeys((item.metric, item.filter) for item in items):
            values = [item.value for item in items if (item.metric, item.filter) == (metric, filter_name)]
            scored = [value for value in values if value is not None]
            primary = (metric, filter_name) == (task.benchmark.metric, task.benchmark.filter)
            rows.append(
                {
                    "metric": metric,
                    "filter": filter_name,
                    "primary": primary,
                    **summary(scored, len(values) - len(scored)),
                    "task_version": tasks.version,
                }
            )
        return rows


def summary(scored: Sequence[float], n_unscored: int) -> dict[str, Any]:
    """Mean, standard error and 95% interval of item values; nulls and a reason where there are none."""
    known: dict[str, Any] = {"n": len(scored), "n_unscored": n_unscored}
    if not scored:
        reason = f"none of {n_unscored} prompts fits into the engine's context; raise evaluation.engine.max_model_len"
        return known | dict.fromkeys(("value", "stderr", "low", "high", "interval")) | {"null_reason": reason}
    mean, n = math.fsum(scored) / len(scored), len(scored)
    if set(scored) <= {0.0, 1.0}:
        interval, stderr = "wilson", math.sqrt(mean * (1 - mean) / n)
        low, high = wilson(int(sum(scored)), n)
    else:
        found = mean_interval(scored)
        interval, stderr, low, high = "plus-four", found.stderr, found.low, found.high
    return known | {
        "value": mean,
        "stderr": stderr,
        "low": low,
        "high": high,
        "interval": interval,
        "null_reason": None,
    }
