"""The configuration of a transfer study (paper B). Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from polyneuron.neuron_core.activations.names import Site
from polyneuron.neuron_core.detectors.names import DetectorName
from polyneuron.neuron_core.edits.modes import Constant, Mode
from polyneuron.neuron_core.training.choices.names import TransferChoice
from polyneuron.neuron_core.training.choices.transfer_recipes import TRANSFER_RECIPES
from polyneuron.pipelines.config.corpus import CorpusConfig
from polyneuron.pipelines.config.evaluation import BenchmarkConfig, EngineConfig, EvaluationConfig
from polyneuron.pipelines.config.section import Once, Place, Section, Seed
from polyneuron.pipelines.config.study import ClusterConfig, Languages, ModelConfig, require_different_names

Tuned = Literal["attention", TransferChoice]
"""What is fine-tuned: attention alone (the paper's model without language neurons), or attention with ffn neurons: those of
`polyneuron.neuron_core.training.choices.strategies.transfer_choices`."""


class InterventionsConfig(Section):
    """What activations of a target language's neurons are set to, one intervention a statistic and mode; without one is
    always judged. Modes: see `polyneuron.neuron_core.edits.intervention`."""

    statistics: tuple[Constant, ...] = ("mean", "p90", "zero", "p10")
    """Constants that activations are set to: statistics of the target language, or zero."""
    modes: tuple[Mode, ...] = Field(default=("matched",), min_length=1)
    """Where and how constants are written: matched, or as_published (before the activation function)."""

    @property
    def kinds(self) -> tuple[tuple[Constant, Mode], ...]:
        """(statistic, mode) of each; zero is no statistic, so it has one mode."""
        found = [(s, mode) for mode in self.modes for s in self.statistics if s != "zero"]
        return (*found, *((("zero", "matched"),) if "zero" in self.statistics else ()))


class FineTuningConfig(Section):
    """How a task is trained: a recipe of `polyneuron.neuron_core.training.choices.transfer_recipes`, the task's own by
    default, and what differs from it."""

    base: Literal["auto", "plain", "nf4"] = "auto"
    """The frozen model in its own dtype (plain) or in 4 bits (nf4); auto is nf4, as in the paper, on GPUs under ZeRO-2."""
    recipe: str | None = None
    """A recipe of paper B by name; that of the task if left out."""
    recipes: dict[str, str] = Field(default_factory=dict)
    """Recipes of single models, by label."""
    data: str = "hub"
    """Training items: hub, sample, or a folder."""
    n_items: int | None = Field(default=None, ge=1)
    """Items trained on; the recipe's if left out."""
    max_tokens: int | None = Field(default=None, ge=4)
    """Longest item in tokens; the recipe's if left out."""
    epochs: int | None = Field(default=None, ge=1)
    """Times over the items; the recipe's if left out."""
    max_steps: int | None = Field(default=None, ge=1)
    """The most optimizer steps; no limit if left out."""
    batch: int | None = Field(default=None, ge=1)
    """Items of an optimizer step; the recipe's if left out."""
    micro_batch: int | None = Field(default=None, ge=1)
    """Items of one pass of a worker; the recipe's if left out."""
    learning_rate: float | None = Field(default=None, gt=0)
    """The highest learning rate; the recipe's if left out."""
    rank: int | None = Field(default=None, ge=1)
    """Rank of the adapters; the recipe's if left out."""

    @model_validator(mode="after")
    def _known(self) -> FineTuningConfig:
        named = [*self.recipes.values(), *([self.recipe] if self.recipe else [])]
        if unknown := [name for name in named if name not in TRANSFER_RECIPES]:
            raise ValueError(f"there is no recipe {unknown[0]!r}; there are {', '.join(TRANSFER_RECIPES)}")
        return self


class TransferTask(Section):
    """One task: where it is judged, what is trained for it, and on which trained models activations are changed."""

    name: Literal["xnli", "xquad"]
    """The benchmark that is trained for and judged by."""
    targets: Annotated[tuple[str, ...], Once] = Field(min_length=1)
    """Languages it is judged in."""
    training: FineTuningConfig = FineTuningConfig()
    """How it is trained."""
    tuned: Annotated[tuple[Tuned, ...], Once] = ("attention", "source", "target", "source+target", "random")
    """What is fine-tuned: attention alone, or attention with ffn neurons of the source, the target, both or at random."""
    intervened: Annotated[tuple[Tuned, ...], Once] = ("attention", "source", "target", "source+target")
    """On which of the trained models activations are changed: a part of `tuned`."""
    detectors: Annotated[tuple[DetectorName, ...] | None, Once] = None
    """Whose neurons are fine-tuned; those of all detectors if left out."""
    max_items: int | None = Field(default=None, ge=1)
    """Items judged of each language; all if left out."""
    max_gen_toks: int | None = Field(default=None, ge=1)
    """The longest answer in tokens; the benchmark's own if left out."""

    @model_validator(mode="after")
    def _has_its_reference(self) -> TransferTask:
        if "attention" not in self.tuned:
            raise ValueError("tuned lacks attention, which everything else is compared with")
        return self


class TransferConfig(Section):
    """A transfer study: which models, from which language to which, by which neurons."""

    kind: Literal["transfer"] = "transfer"
    """What this file configures; every file says it."""
    models: tuple[ModelConfig, ...] = Field(min_length=1)
    """The models, one after the other."""
    source: Literal["en"] = "en"
    """The language that tasks are trained in."""
    languages: Languages
    """Those whose activations are measured together, source and targets among them."""
    tasks: Annotated[tuple[TransferTask, ...], Once] = Field(min_length=1)
    """What is trained for and judged by."""
    detectors: Annotated[tuple[DetectorName, ...], Once] = Field(default=("lape", "act_prob"), min_length=1)
    """Methods that find language neurons."""
    interventions: InterventionsConfig = InterventionsConfig()
    """What activations are set to."""
    seeds: Annotated[tuple[Seed, ...], Once] = Field(default=(0,), min_length=1)
    """Every training is done once with each."""
    corpus: CorpusConfig = CorpusConfig()
    """Where the sentences come from whose activations are measured."""
    batch_size: int = Field(default=8, ge=1)
    """Sentences of one pass."""
    evaluation_data: str = "hub"
    """Where items come from: hub, sample, or a folder with `<organisation>/<dataset>/`."""
    revisions: dict[str, str] = Field(default_factory=dict)
    """Commits of hub datasets, by dataset id."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Level of the verdicts' tests."""
    min_effect: float = Field(default=0.0, ge=0)
    """Differences below it are no finding, whatever their p-value."""
    engine: EngineConfig = EngineConfig()
    """The inference engine that judges."""
    zero_stage: Literal[2, 3] = 2
    """DeepSpeed's stage: gradients and optimizer shared out (2), weights too (3)."""
    recomputed_layers: float = Field(default=0.0, ge=0, le=1)
    """The share of layers whose activations are computed again in the backward pass, to save memory."""
    checkpoint_every: int = Field(default=100, ge=0)
    """Optimizer steps between checkpoints; 0 for none."""
    cluster: ClusterConfig = ClusterConfig()
    """How work is spread."""
    store: Place = "stores/transfer"
    """The folder or URL of all results."""
    seed: Seed = 0
    """The seed of all random draws but the trainings'."""

    @model_validator(mode="after")
    def _fits_together(self) -> TransferConfig:
        require_different_names(self.models)
        for task in self.tasks:
            if self.source in task.targets:
                raise ValueError(f"{task.name} has the source language {self.source} among its targets")
            if unknown := sorted({self.source, *task.targets} - set(self.languages)):
                raise ValueError(f"{task.name} needs {', '.join(unknown)}, which languages does not list")
            if unknown := sorted(set(task.detectors or ()) - set(self.detectors)):
                raise ValueError(f"{task.name} names the detectors {', '.join(unknown)}, not listed above")
            if task.training.base == "nf4" and self.zero_stage == 3:
                raise ValueError(
                    f"{task.name}: ZeRO-3 cannot shard a base in nf4; set zero_stage=2 or base=plain"
                )
            if unknown := sorted(set(task.training.recipes) - {model.label for model in self.models}):
                raise ValueError(f"{task.name} has recipes of models not listed: {', '.join(unknown)}")
        if unknown := sorted(set(self.corpus.sources) - set(self.languages)):
            raise ValueError(f"corpus.sources names {', '.join(unknown)}, which languages does not list")
        return self

    @property
    def evaluation(self) -> EvaluationConfig:
        """What is judged in which languages, as the section of a study."""
        return EvaluationConfig(
            benchmarks=tuple(
                BenchmarkConfig(name=task.name, max_items=task.max_items, max_gen_toks=task.max_gen_toks)
                for task in self.tasks
            ),
            data=self.evaluation_data,
            revisions=self.revisions,
            languages=tuple(dict.fromkeys(target for task in self.tasks for target in task.targets)),
            alpha=self.alpha,
            min_effect=self.min_effect,
            engine=self.engine,
        )

    def trains_in_nf4(self, task: TransferTask) -> bool:
        """Whether the frozen base of a task's trainings is in 4 bits."""
        if task.training.base == "auto":
            return self.cluster.gpus_per_worker > 0 and self.zero_stage == 2
        return task.training.base == "nf4"

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where activations are measured; detectors read the first."""
        return ("matched", "pre_activation") if "as_published" in self.interventions.modes else ("matched",)
