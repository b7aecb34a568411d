"""What of a study is in its store: its own stages are gone through as a start goes through them, to where work would begin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, NoReturn

import pyarrow as pa

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.sets.variant_name import BASE
from polyneuron.pipelines.config.study import ModelConfig, StudyConfig
from polyneuron.pipelines.model_run import ModelRun
from polyneuron.pipelines.plan.units import DETECTED, lies_here
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.progress import unheard
from polyneuron.pipelines.run.slot import JudgingEngine, Slot, Workers
from polyneuron.pipelines.stages.corpora import mixture_for
from polyneuron.pipelines.stages.evaluation import benchmark_tasks, units_to_judge
from polyneuron.pipelines.stages.order import stages_of
from polyneuron.pipelines.stages.training import training_jobs
from polyneuron.pipelines.stages.training_job import kept_edit
from polyneuron.pipelines.stages.variants import Variant, variants_named


class WorkBegins(Exception):
    """Something is missing that workers or an engine would now make."""


def stored_units(config: StudyConfig, model: ModelConfig, store: Store) -> tuple[dict[str, int], set[str]]:
    """How many units the study finds done, by table, and the stages of which nothing is left to do. Nothing is written to the
    store, and no weights are read.

    Raises:
        PolyneuronError: what a start would refuse before it computes anything more.
    """
    run, complete = _StoredRun(config, model, store), set[str]()
    with unheard():
        for stage in stages_of("study", config):
            chooses = "auto" in config.training.strategies
            if complete.issuperset((*stage.needs, *(stage.auto_needs if chooses else ()))):
                with suppress(WorkBegins):
                    stage.run(run)
                    complete.add(stage.name)
    return run.done(), complete


class _Reading(Ledger):
    """A ledger that keeps what it is given to itself."""

    def put(self, table: str, unit: str, rows: pa.Table | Sequence[Mapping[str, Any]], **where: str) -> None:
        """Writes nothing. Raises WorkBegins for what later stages read from the store."""
        if table == "metrics":
            raise WorkBegins


class _Nobody(Slot):
    """A place that neither workers nor an engine ever take."""

    def hold(self, holder: str, start: Callable[[], AbstractContextManager[Any]]) -> NoReturn:
        """Raises WorkBegins."""
        raise WorkBegins


class _StoredRun(ModelRun):
    """The stages of one model, of which each ends where work would begin."""

    def __init__(self, config: StudyConfig, model: ModelConfig, store: Store) -> None:
        super().__init__(config, model, store, "", keeps_sentences=False)
        self.slot, self.ledger = _Nobody(1), _Reading(store, model.label)
        self.workers = Workers(self.model, config.cluster, self.slot)
        self.engine = JudgingEngine(self.model, config.evaluation, self.slot, seed=config.seed)
        self._of_detected = self._copied = 0

    def done(self) -> dict[str, int]:
        """Units found done, by table."""
        tables = [table for table, _ in self.ledger.listed]
        counts = {table: tables.count(table) for table in dict.fromkeys(tables)}
        counts["perplexities"] = counts.get("perplexities", 0) - self._of_detected - self._copied
        return counts | {DETECTED: self._of_detected}

    def ablation(self) -> None:
        """Counts the perplexities without detected sets apart; of each detector the base model's are there twice."""
        ablation = self._ablation()
        self.perplexities = ablation.without_sets(self.selected)
        for detected in self.detected:
            before = len(self.ledger.listed)
            try:
                ablation.without_detected([detected], self.perplexities[BASE])
            finally:
                found = len(self.ledger.listed) - before
                self._copied += min(found, 1)
                self._of_detected += max(found - 1, 0)

    def training(self) -> None:
        """Takes the edits that are there. The documents are turned into blocks where that was not done before."""
        config = self.config.training
        if not self.ledger.read("training", columns=["unit"]).num_rows or not all(
            lies_here(source) for source, _ in mixture_for(config)
        ):
            raise WorkBegins
        jobs = training_jobs(
            self.ledger,
            self.sentences,
            self.model,
            self.selected,
            config=config,
            metrics=self.metrics_unit,
            seed=self.config.seed,
        )
        for job in jobs:
            edit = kept_edit(self.ledger, job.work.key, moves_damaged=False)
            if edit is not None:
                self.tuned.append(Variant(name=job.name, neurons=job.work.neuron_set, change=edit))
            else:
                self.ledger.dismiss("training", [job.work.key])
        self._ablation().of_tuned(self.selected, self.tuned)
        if len(self.tuned) < len(jobs):
            raise WorkBegins

    def evaluation(self) -> None:
        """Asks for the scores of all variants that are there. The hub's data are not looked up."""
        config = self.config.evaluation
        if config.data == "hub":
            raise WorkBegins
        variants = [*variants_named(self.selected.variants, config.variants), *self.tuned]
        tasks = benchmark_tasks(config, self.config.languages)
        units = units_to_judge(self.ledger, self.engine, variants, tasks)
        if self.ledger.missing("scores", units):
            raise WorkBegins
