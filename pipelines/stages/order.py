"""The stages of a study and how far each command goes: written here, and read by the commands, the progress and the docs.

Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyneuron.pipelines.config.study import StudyConfig
    from polyneuron.pipelines.model_run import ModelRun


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyStage:
    """One stage of every model's study."""

    name: str
    """The method of a `ModelRun` that does what is missing; what it is called in timings and failures."""
    title: str
    """What it does, and how its work is divided."""
    needs: tuple[str, ...] = ()
    """The stages whose results it reads."""
    auto_needs: tuple[str, ...] = ()
    """Stages whose results it reads as well where a training strategy is `auto`."""
    is_asked_for: Callable[[StudyConfig], bool] = lambda config: True
    """Whether a configuration gives it anything to do."""

    def run(self, study: ModelRun) -> None:
        """Does what is missing of one model."""
        getattr(study, self.name)()


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


STAGES = (
    StudyStage(
        name="corpora",
        title="sample sentences of every language, and turn them into tokens",
    ),
    StudyStage(
        name="detection",
        title="measure impacts (a unit a language), and select sets and their controls",
        needs=("corpora",),
    ),
    StudyStage(
        name="noise_floor",
        title="draw how large the sets are by chance, and how stable, from impacts on single sentences (one unit)",
        needs=("detection",),
        is_asked_for=lambda config: config.detection.noise_floor != "off",
    ),
    StudyStage(
        name="activations",
        title="measure activations (a unit a site), and let detectors find sets, where detectors are asked for",
        needs=("detection",),
        is_asked_for=lambda config: bool(config.activations.detectors),
    ),
    StudyStage(
        name="contexts",
        title="keep the tokens on which the neurons in sets are strongest (a unit a language), where they are asked for",
        needs=("detection",),
        is_asked_for=lambda config: config.contexts.top_tokens > 0,
    ),
    StudyStage(
        name="ablation",
        title="measure perplexity without each set and each control (a unit a variant)",
        needs=("detection",),
    ),
    StudyStage(
        name="metrics",
        title="compute the scores with their intervals",
        needs=("ablation",),
    ),
    StudyStage(
        name="training",
        title="train chosen neurons (a unit a language, strategy and seed), where languages are given for it",
        needs=("detection",),
        auto_needs=("metrics",),
        is_asked_for=lambda config: bool(config.training.languages),
    ),
    StudyStage(
        name="evaluation",
        title="judge on benchmarks (a unit a variant, benchmark and language), where benchmarks are asked for",
        needs=("detection",),
        is_asked_for=lambda config: bool(config.evaluation.benchmarks),
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
    "detect": StudyCommand("Measure impacts and select sets.", (*_FINDS_SETS, "noise_floor", "contexts")),
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
