"""The whole study, or a part of it, for all models of a configuration. What is done is left alone."""

from pathlib import Path

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.redact import redacted
from polyneuron.pipelines.config.study import ModelConfig, StudyConfig
from polyneuron.pipelines.run.models import each_model, exit_code
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.record import recorded
from polyneuron.pipelines.stages.order import COMMANDS, stages_of


def run_study(config: StudyConfig, command: str = "study") -> int:
    """Runs the stages of a command for every model, and the report, where the command has one.

    Returns the exit code: 0, or 1 when a model failed and others went on.

    Raises:
        PolyneuronError: the only model failed, or the store cannot be used.
    """
    store = Store(config.store)
    if COMMANDS[command].reports:
        _ = config.report_path  # a study without a place for its report is refused at once
    uses_engine = config.evaluation.benchmarks or config.ablation.through == "engine"
    engine = config.evaluation.engine if uses_engine else None
    with recorded(config, store) as run:

        def study_model(model: ModelConfig) -> str:
            from polyneuron.pipelines.model_run import ModelRun

            study = ModelRun(config, model, store, run.id)
            with study.slot:
                for stage in stages_of(command, config):
                    with run.timed(stage.name):
                        stage.run(study)
                    study.ledger.close_stage()
            return model.label

        done = each_model(config.models, config.cluster, engine, run, study_model)
        if COMMANDS[command].reports and done:
            run.record(run.outcome)  # before the report, which says how the run ended
            with run.timed("report"):
                say(f"report: {write_study_report(config, store, run.id)}")
    return exit_code(run)


def write_study_report(config: StudyConfig, store: Store, run_id: str | None = None) -> Path:
    """Writes the report of what the run `run_id` listed, or of the newest runs in the store; returns its path."""
    from polyneuron.eval.report import write_report

    return write_report(store, config.report_path, redacted(config.title), run_id)
