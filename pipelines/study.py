"""The whole study: corpora, detection, selection, detectors, ablation, metrics, report. What is done is left alone."""

from __future__ import annotations

from pathlib import Path

from polyneuron.eval.store.store import Store
from polyneuron.pipelines.config.study import ModelConfig, StudyConfig
from polyneuron.pipelines.run.models import each_model, exit_code
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.record import Run, recorded

STAGES = ("detect", "ablate", "train", "evaluate", "report")
"""What can be asked for: each includes what it needs of the ones before it."""


def run_study(config: StudyConfig, last_stage: str = "report") -> int:
    """Runs the stages up to `last_stage` for every model, and the report.

    Returns the exit code: 0, or 1 when a model failed and others went on.

    Raises:
        PolyneuronError: the only model failed, or the store cannot be used.
    """
    store = Store(config.store)
    uses_engine = config.evaluation.benchmarks or config.ablation.through == "engine"
    engine = config.evaluation.engine if uses_engine else None
    with recorded(config, store) as run:
        found = each_model(
            config.models,
            config.cluster,
            engine,
            run,
            lambda model: _study_model(config, model, store, run, last_stage),
        )
        units = [unit for of_model in found for unit in of_model]
        if last_stage == "report" and units:
            run.record("running")
            with run.timed("report"):
                say(f"report: {write_study_report(config, store, units)}")
    return exit_code(run)


def write_study_report(config: StudyConfig, store: Store, units: list[str] | None = None) -> Path:
    """Writes the report of what the store holds (of `units` alone, when given)."""
    from polyneuron.eval.report import write_report

    return write_report(store, config.report_path, config.title, units)


def _study_model(
    config: StudyConfig, model: ModelConfig, store: Store, run: Run, last_stage: str
) -> list[str]:
    from polyneuron.neuron_core.sets.variant_name import BASE
    from polyneuron.pipelines.run.subject import Subject
    from polyneuron.pipelines.stages.ablation import ablate, ablate_detected, measure_tuned
    from polyneuron.pipelines.stages.corpora import prepare_corpora
    from polyneuron.pipelines.stages.detectors import detect_by_activations
    from polyneuron.pipelines.stages.evaluation import Judged, evaluate, judged_variants
    from polyneuron.pipelines.stages.metrics import compute_metrics
    from polyneuron.pipelines.stages.selection import detect_and_select
    from polyneuron.pipelines.stages.training import train
    from polyneuron.pipelines.stages.verdicts import store_verdicts

    with Subject.open(config, model) as subject:
        with run.timed("corpora"):
            corpora = prepare_corpora(subject, store, run.id)
        with run.timed("detection"):
            selected = detect_and_select(subject, store, run.id)
        units = [*corpora, *selected.detections.values(), selected.unit]
        detected = None
        if config.activations.detectors:
            with run.timed("activations"):
                detected = detect_by_activations(subject, store, run.id, selected)
            units += detected.units
        metrics, tuned = None, list[Judged]()
        if last_stage in ("ablate", "report") or (
            last_stage == "train" and "auto" in config.training.strategies
        ):
            with run.timed("ablation"):
                perplexities = ablate(subject, store, run.id, selected)
                if detected is not None:
                    units += ablate_detected(subject, store, run.id, detected, perplexities[BASE])
            with run.timed("metrics"):
                metrics = compute_metrics(subject, store, run.id, selected, perplexities)
            units += [*perplexities.values(), metrics]
        if last_stage in ("train", "report") and config.training.languages:
            with run.timed("training"):
                tuned, trainings = train(subject, store, run.id, selected, metrics)
                units += [*trainings, *measure_tuned(subject, store, run.id, selected, tuned).values()]
        if last_stage in ("evaluate", "report") and config.evaluation.benchmarks:
            with run.timed("evaluation"):
                judged = [*judged_variants(selected, config.evaluation.variants), *tuned]
                evaluated = evaluate(subject, store, run.id, judged)
            units += [*evaluated, store_verdicts(subject, store, run.id, judged, evaluated)]
        return units
