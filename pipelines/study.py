"""The whole study, or a part of it, for all models of a configuration. What is done is left alone."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.redact import redacted
from polyneuron.pipelines.config.study import ModelConfig, StudyConfig
from polyneuron.pipelines.run.models import each_model, exit_code
from polyneuron.pipelines.run.progress import show
from polyneuron.pipelines.run.record import recorded
from polyneuron.pipelines.stages.order import COMMANDS, stages_of
from polyneuron.pipelines.tracking.tracker import tracker_of

if TYPE_CHECKING:
    from polyneuron.eval.report.numbers.study import Report


def run_study(config: StudyConfig, command: str = "study") -> int:
    """Runs the stages of a command for every model, and the report, where the command has one.

    Returns the exit code: 0, or 1 when a model failed and others went on.

    Raises:
        PolyneuronError: the only model failed, the store cannot be used, or a tracker is asked for that is not installed.
    """
    store = Store(config.store)
    links = {}
    if COMMANDS[command].reports:
        links["report"] = str(config.report_path)  # a study without a place for its report is refused at once
    begin = tracker_of(config.tracking)
    uses_engine = config.evaluation.benchmarks or config.ablation.through == "engine"
    engine = config.evaluation.engine if uses_engine else None
    report: Report | None = None
    with recorded(config, store) as run:

        def study_model(model: ModelConfig) -> str:
            from polyneuron.pipelines.model_run import ModelRun
            from polyneuron.pipelines.tracking.tracking import tracked

            stages = list(stages_of(command, config))
            has_noise_floor = any(stage.name == "noise_floor" for stage in stages)
            study = ModelRun(config, model, store, run.id, keeps_sentences=has_noise_floor)
            in_tracker = tracked(begin, config, command, store=store, model=model.label, run=run)
            with study.slot, in_tracker as tracking:
                study.ledger.hear(partial(tracking.unit, study.ledger))
                for stage in stages:
                    with run.timed(stage.name), tracking.stage(stage.name):
                        stage.run(study)
                    study.ledger.close_stage()
                tracking.study(links)
            return model.label

        done = each_model(config.models, config.cluster, engine, run, study_model)
        if COMMANDS[command].reports and done:
            run.record(run.outcome)  # before the report, which says how the run ended
            with run.timed("report"):
                path, report = _written(config, store, run.id)
            show(f"report: {path}")
    if report is not None:  # after the run: during it, what is printed goes to the log
        from polyneuron.pipelines.run.outcome import print_outcome

        print_outcome(report, run.timings_s, config.store)
    return exit_code(run)


def write_study_report(config: StudyConfig, store: Store) -> Path:
    """Writes the report of the newest runs in the store, and `results.json` beside it; returns the report's path."""
    return _written(config, store, None)[0]


def _written(config: StudyConfig, store: Store, run_id: str | None) -> "tuple[Path, Report]":
    from polyneuron.eval.report import read_report, write_pages

    report = read_report(store, run_id)
    return write_pages(report, config.report_path, redacted(config.title)), report
