"""The stages of a study and how far each command goes: written here, and read by the commands, the progress and the docs.

Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polyneuron.pipelines.config.study import StudyConfig

if TYPE_CHECKING:
    from polyneuron.pipelines.run.model_run import ModelRun
    from polyneuron.pipelines.stages.ablation import Ablation


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyStage:
    """One stage of every model's study."""

    name: str
    """What it is called in timings and failures."""
    title: str
    """What it does, and how its work is divided."""
    needs: tuple[str, ...] = ()
    """The stages whose results it reads."""
    auto_needs: tuple[str, ...] = ()
    """Stages whose results it reads as well where a training strategy is `auto`."""
    is_asked_for: Callable[[StudyConfig], bool] = lambda config: True
    """Whether a configuration gives it anything to do."""
    run: Callable[[ModelRun], None]
    """Does what is missing."""


@dataclass(frozen=True)
class StudyCommand:
    """A command that runs a part of the study."""

    help: str
    stages: tuple[str, ...]
    """The stages that it runs, where they are asked for; it also runs what they need."""
    reports: bool = False
    """Whether it ends with the report."""


def stages_of(command: str, config: StudyConfig) -> Iterator[StudyStage]:
    """The stages that a command runs, in order."""
    reached = set(COMMANDS[command].stages)
    for stage in reversed(STAGES):
        if stage.name in reached:
            reached.update(stage.needs)
            reached.update(stage.auto_needs if "auto" in config.training.strategies else ())
    return (stage for stage in STAGES if stage.name in reached and stage.is_asked_for(config))


def _corpora(study: ModelRun) -> None:
    from polyneuron.pipelines.stages.corpora import prepare_corpora

    config = study.config
    study.sentences = prepare_corpora(
        study.ledger, study.model, config.corpus, config.languages, seed=config.seed
    )


def _detection(study: ModelRun) -> None:
    from polyneuron.pipelines.stages.selection import detect_and_select

    config = study.config
    study.selected = detect_and_select(
        study.ledger,
        study.model,
        study.sentences,
        study.workers,
        detection=config.detection,
        selection=config.selection,
        ablation=config.ablation,
    )


def _activations(study: ModelRun) -> None:
    from polyneuron.pipelines.stages.activations import measure_activations
    from polyneuron.pipelines.stages.detectors import find_sets, store_overlaps

    config, batch_size = study.config.activations, study.config.detection.batch_size
    measured = measure_activations(
        study.ledger, study.model, study.sentences, study.workers, sites=config.sites, batch_size=batch_size
    )
    study.detected = find_sets(
        study.ledger,
        study.sentences.languages,
        config.detectors,
        site=config.sites[0],
        activations=measured[config.sites[0]],
        n_controls=config.controls,
    )
    store_overlaps(study.ledger, study.selected, study.detected)


def _ablation(study: ModelRun) -> None:
    from polyneuron.neuron_core.sets.variant_name import BASE

    ablation = _ablation_of(study)
    study.perplexities = ablation.without_sets(study.selected)
    ablation.without_detected(study.detected, study.perplexities[BASE])


def _ablation_of(study: ModelRun) -> Ablation:
    from polyneuron.pipelines.stages.ablation import Ablation

    return Ablation(
        study.ledger,
        study.model,
        study.sentences,
        study.config.ablation,
        workers=study.workers,
        engine=study.engine,
    )


def _metrics(study: ModelRun) -> None:
    from polyneuron.pipelines.stages.metrics import compute_metrics

    config = study.config
    study.metrics = compute_metrics(
        study.ledger, study.selected, study.perplexities, config.ablation.n_bootstrap, seed=config.seed
    )


def _training(study: ModelRun) -> None:
    from polyneuron.pipelines.stages.training import train

    study.tuned = train(
        study.ledger,
        study.model,
        study.sentences,
        study.workers,
        study.selected,
        config=study.config.training,
        metrics=study.metrics,
        seed=study.config.seed,
    )
    _ablation_of(study).of_tuned(study.selected, study.tuned)


def _evaluation(study: ModelRun) -> None:
    from polyneuron.pipelines.stages.evaluation import benchmark_tasks, evaluate
    from polyneuron.pipelines.stages.variants import variants_named
    from polyneuron.pipelines.stages.verdicts import Standard, store_verdicts

    config, ledger = study.config.evaluation, study.ledger
    variants = [*variants_named(study.selected.variants, config.variants), *study.tuned]
    tasks = benchmark_tasks(config, study.config.languages)
    evaluated = evaluate(ledger, study.model, study.engine, variants, tasks)
    standard = Standard(config.alpha, config.min_effect, study.config.seed)
    store_verdicts(ledger, variants, evaluated, standard)


STAGES = (
    StudyStage(
        name="corpora",
        title="sample sentences of every language, and turn them into tokens",
        run=_corpora,
    ),
    StudyStage(
        name="detection",
        title="measure impacts (a unit a language), and select sets and random controls",
        needs=("corpora",),
        run=_detection,
    ),
    StudyStage(
        name="activations",
        title="measure activations (a unit a site), and let detectors find sets, where detectors are asked for",
        needs=("detection",),
        is_asked_for=lambda config: bool(config.activations.detectors),
        run=_activations,
    ),
    StudyStage(
        name="ablation",
        title="measure perplexity without each set (a unit a variant)",
        needs=("detection",),
        run=_ablation,
    ),
    StudyStage(
        name="metrics", title="compute the scores with their intervals", needs=("ablation",), run=_metrics
    ),
    StudyStage(
        name="training",
        title="train chosen neurons (a unit a language, strategy and seed), where languages are given for it",
        needs=("detection",),
        auto_needs=("metrics",),
        is_asked_for=lambda config: bool(config.training.languages),
        run=_training,
    ),
    StudyStage(
        name="evaluation",
        title="judge on benchmarks (a unit a variant, benchmark and language), where benchmarks are asked for",
        needs=("detection",),
        is_asked_for=lambda config: bool(config.evaluation.benchmarks),
        run=_evaluation,
    ),
)
"""In the order in which they run; each reads the results of stages before it."""

_FINDS_SETS = ("corpora", "detection", "activations")
COMMANDS = {
    "study": StudyCommand(
        "Run the whole study and write its report. Run it again to go on where it stopped.",
        tuple(stage.name for stage in STAGES),
        reports=True,
    ),
    "detect": StudyCommand("Measure impacts and select sets.", _FINDS_SETS),
    "ablate": StudyCommand(
        "Measure perplexity without each set (detects first where that is missing).",
        (*_FINDS_SETS, "ablation", "metrics"),
    ),
    "train": StudyCommand(
        "Train chosen neurons on documents (detects, and for `auto` measures, what is missing first).",
        (*_FINDS_SETS, "training"),
    ),
    "evaluate": StudyCommand(
        "Judge the base model and its variants on benchmarks (detects first where that is missing).",
        (*_FINDS_SETS, "evaluation"),
    ),
}
"""By name, in the order of `polyneuron --help`."""
