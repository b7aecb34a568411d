"""The one typed configuration of every pipeline: its sections, their defaults and what each value may be.

Imports nothing heavy, so that `--help` and configuration errors answer at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from polyneuron.cluster.spec import Offload, Weights
from polyneuron.neuron_core.activations.names import Site
from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.neuron_core.detectors.names import DetectorName
from polyneuron.neuron_core.impacts.modes import DetectionMode
from polyneuron.neuron_core.model.groups import DEFAULT_GROUPS, GROUPS
from polyneuron.neuron_core.passes.limits import FLOOR_FRACTION, NOISE_FLOOR_BYTES
from polyneuron.neuron_core.selection.names import RuleName
from polyneuron.neuron_core.sets.variant_name import BASE
from polyneuron.pipelines.config.corpus import CorpusConfig
from polyneuron.pipelines.config.evaluation import EvaluationConfig
from polyneuron.pipelines.config.section import Once, Place, Section, Seed
from polyneuron.pipelines.config.tracking import TrackingConfig
from polyneuron.pipelines.config.training import TrainingConfig


def _different_languages(languages: tuple[str, ...]) -> tuple[str, ...]:
    if len(languages) == 1 and languages[0].split()[1:]:
        raise ValueError(f"put commas between languages, as in {','.join(languages[0].split())}")
    if repeated := sorted({code for code in languages if languages.count(code) > 1}):
        raise ValueError(f"{', '.join(repeated)} is listed twice")
    if len(languages) < 2:
        raise ValueError("give at least two different languages; one has nothing to share")
    return languages


Languages = Annotated[tuple[str, ...], AfterValidator(_different_languages)]


class ModelConfig(Section):
    """A model: `path`, or `gguf_package` in its place."""

    path: str | None = None
    """Hub id, local folder or .gguf file."""
    gguf_package: str | None = None
    """In place of `path`: a Python package that carries a GGUF file."""
    name: str | None = None
    """What results are stored under; the path or package if left out."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Floating-point type to compute in."""
    revision: str | None = None
    """Commit, branch or tag on the hub; the newest if left out."""
    trust_remote_code: bool = False
    """Whether Python code that comes with the model may run, with all your rights."""
    add_bos: bool | None = None
    """Whether texts start with the BOS token; as the tokenizer does if left out."""

    @model_validator(mode="after")
    def _one_source(self) -> ModelConfig:
        if (self.path is None) == (self.gguf_package is None):
            raise ValueError("give either path or gguf_package")
        return self

    @property
    def label(self) -> str:
        """The name under which results are stored."""
        return self.name or str(self.path or self.gguf_package)


def require_different_names(models: tuple[ModelConfig, ...]) -> None:
    """Raises ValueError when two models would be stored under one name."""
    if len({model.label for model in models}) != len(models):
        raise ValueError("two models have the same name; give each its own `name`")


class DetectionConfig(Section):
    """Which impacts are measured, and how."""

    groups: tuple[str, ...] = Field(default=DEFAULT_GROUPS, min_length=1)
    """Kinds of neurons: q, k, v, ffn, o."""
    mode: DetectionMode = "certified"
    """full measures every neuron; certified bounds q and k neurons that provably cannot be selected, unless a noise floor, which
    needs all of them, is measured as well."""
    batch_size: int = Field(default=8, ge=1)
    """Sentences of one pass."""
    floor_fraction: float = Field(default=FLOOR_FRACTION, gt=0, le=1)
    """The share of a group's neurons at or above the floor of certified detection, below which nothing is measured."""
    noise_floor: Literal["auto", "on", "off"] = "auto"
    """Whether to measure how large sets are by chance; auto: where impacts on every sentence fit into 1 GiB."""

    def wants_noise_floor(self, n_bytes: int) -> bool:
        """Whether it is measured where impacts on every sentence take `n_bytes`."""
        return self.noise_floor == "on" or (self.noise_floor == "auto" and n_bytes <= NOISE_FLOOR_BYTES)

    @field_validator("noise_floor", mode="before")
    @classmethod
    def _yaml_reads_on_as_true(cls, value: object) -> object:
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

    @field_validator("groups")
    @classmethod
    def _known(cls, groups: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [group for group in groups if group not in GROUPS]:
            raise ValueError(f"unknown groups {unknown}; there are {', '.join(GROUPS)}")
        return tuple(group for group in GROUPS if group in groups)


class SelectionConfig(Section):
    """The rule. scaled_sigma, the default, chooses sigma for `target_shared` unless `sigma` is given."""

    rule: RuleName = "scaled_sigma"
    """How neurons are selected by impact; docs/selection.md describes each rule."""
    target_shared: float = Field(default=0.003, gt=0, lt=1)
    """The share of neurons that the shared set should have; scaled_sigma chooses sigma for it."""
    sigma: float | None = Field(default=None, gt=0)
    """The threshold of the rules sigma and scaled_sigma; the latter chooses it for `target_shared` if left out."""
    fraction: float = Field(default=0.01, gt=0, le=1)
    """The rule quantile: the share of neurons of each language and group that pass."""
    ratio: float = Field(default=0.05, gt=0, le=1)
    """The rule top_ratio: the share of neurons of each layer and group that pass."""
    per_token: bool = True
    """Whether impacts are per token or, as in the paper, Frobenius norms."""
    share: float = Field(default=1.0, gt=0, le=1)
    """The share of sentences on which a neuron must pass."""

    @model_validator(mode="after")
    def _sigma_given(self) -> SelectionConfig:
        if self.rule == "sigma" and self.sigma is None:
            raise ValueError("the rule sigma needs selection.sigma")
        return self


class ActivationsConfig(Section):
    """Activation statistics, and what detectors find in them."""

    detectors: Annotated[tuple[DetectorName, ...], Once] = ()
    """Methods that find language neurons in activations; nothing is measured without any."""
    sites: Annotated[tuple[Site, ...], Once] = Field(default=("matched",), min_length=1)
    """Where activations are taken; detectors read the first."""
    controls: int = Field(default=1, ge=0, le=1000)
    """Random sets deactivated beside each set that a detector finds."""


class ContextsConfig(Section):
    """The tokens on which neurons are strongest."""

    top_tokens: int = Field(default=0, ge=0, le=100)
    """How many are kept of each neuron in a set, in each language; 0, the default: nothing is measured."""
    n_sentences: int | None = Field(default=None, ge=1)
    """How many of a language's detection sentences are read for them, the first ones; null: all."""


class AblationConfig(Section):
    """Deactivation of sets, beside controls."""

    shared_control_seeds: int = Field(default=20, ge=0, le=1000)
    """Draws of each kind of control of the shared set."""
    exclusive_control_seeds: int = Field(default=20, ge=0, le=1000)
    """Draws of each kind of control of each language's exclusive and strict set."""
    n_bootstrap: int = Field(default=2000, ge=1, le=1_000_000)
    """Resamples behind each interval."""
    variants_per_pass: int = Field(default=4, ge=1)
    """How many variants one pass over the model serves."""
    batch_size: int = Field(default=8, ge=1)
    """Sentences of one pass."""
    through: Literal["workers", "engine"] = "workers"
    """Who measures perplexity: the workers, or the inference engine."""

    @property
    def n_controls(self) -> dict[str, int]:
        """Draws of each kind of control, of the shared set and of each set of a language."""
        return {"shared": self.shared_control_seeds, "exclusive": self.exclusive_control_seeds}


class ClusterConfig(Section):
    """How work is spread: Ray actors that share each model."""

    models_at_once: int = Field(default=1, ge=1)
    """Models side by side."""
    world_size: int = Field(default=1, ge=1)
    """Workers that share one model."""
    threads_per_worker: int = Field(default=1, ge=1)
    """Cores of a worker."""
    gpus_per_worker: float = Field(default=0, ge=0, le=1)
    """1: a GPU; below 1: a part of one, for small models; 0: the CPU."""
    weights: Weights = "shard"
    """shard: each worker holds its share under DeepSpeed ZeRO-3; stream: layer after layer is read from the files."""
    hidden_states_gib: float = Field(default=8.0, ge=0)
    """Memory of a worker for what waits between layers; the rest lies in $TMPDIR."""
    offload: Offload = "none"
    """Where shards rest between gathers."""
    max_restarts: int = Field(default=2, ge=0)
    """How often workers that died are started again."""
    hang_timeout_s: float = Field(default=600, gt=0)
    """Seconds without progress after which a worker counts as hung."""

    @property
    def device(self) -> str:
        """The kind of device that workers compute on, as torch names it."""
        return "cuda" if self.gpus_per_worker else "cpu"

    @model_validator(mode="after")
    def _a_device_for_each_rank(self) -> ClusterConfig:
        if 0 < self.gpus_per_worker < 1 and self.world_size > 1:
            raise ValueError(
                f"gpus_per_worker {self.gpus_per_worker:g} would put several of the {self.world_size} workers of one model on "
                "one GPU, which NCCL refuses. Set world_size=1, and models_at_once to as many models as share the GPUs; or "
                "gpus_per_worker=1"
            )
        return self


class VariantFile(Section):
    """A variant kept in a file."""

    name: str
    """What it is called in the results."""
    file: str
    """The file of a weight edit or an intervention, as `save` wrote it."""
    model: str
    """The label of the model it is for."""


class NightlyConfig(Section):
    """What is judged every night, and by what measure."""

    kind: Literal["nightly"] = "nightly"
    """What this file configures; every file says it."""
    models: tuple[ModelConfig, ...] = Field(min_length=1)
    """The models to judge."""
    variants: tuple[VariantFile, ...] = ()
    """Variants kept in files, judged beside the base models."""
    languages: Annotated[tuple[str, ...], Once] = Field(min_length=1)
    """Languages to judge in."""
    evaluation: EvaluationConfig
    """Benchmarks, and how they are judged."""
    few_items: Literal["fail", "pass"] = "fail"
    """What a comparison with too few items to be judged does to the night: fail it (exit code 2) or pass."""
    store: Place = "stores/nightly"
    """The folder or URL of all nights."""
    night: str | None = None
    """The label of the night; today's date in UTC if left out."""
    tracking: TrackingConfig = TrackingConfig()
    """A tracker that is shown the scores of every night."""
    seed: Seed = 0
    """The seed of all random draws."""

    @model_validator(mode="after")
    def _known_models(self) -> NightlyConfig:
        require_different_names(self.models)
        if unknown := sorted({variant.model for variant in self.variants} - {m.label for m in self.models}):
            raise ValueError(f"variants name models that are not listed: {', '.join(unknown)}")
        names = [(variant.model, variant.name) for variant in self.variants]
        if len(set(names)) != len(names) or any(name == str(BASE) for _, name in names):
            raise ValueError("each variant of a model needs a name of its own, and not `base`")
        if not self.evaluation.benchmarks:
            raise ValueError("evaluation.benchmarks is empty: there is nothing to judge by")
        return self


class StudyConfig(Section):
    """Everything a study needs."""

    kind: Literal["study"] = "study"
    """What this file configures; every file says it."""
    models: tuple[ModelConfig, ...] = Field(min_length=1)
    """The models, one after the other or side by side."""
    languages: Languages = ("en", "zh", "th", "sw", "fr", "de")
    """The codes of at least two languages."""
    corpus: CorpusConfig = CorpusConfig()
    """Where sentences come from."""
    detection: DetectionConfig = DetectionConfig()
    """Which impacts are measured."""
    selection: SelectionConfig = SelectionConfig()
    """Which neurons are selected."""
    activations: ActivationsConfig = ActivationsConfig()
    """Which activations are measured, and what is found in them."""
    contexts: ContextsConfig = ContextsConfig()
    """Which tokens are kept of each neuron in a set."""
    ablation: AblationConfig = AblationConfig()
    """What is deactivated beside the sets."""
    training: TrainingConfig = TrainingConfig()
    """Which neurons are trained, and how."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Benchmarks, and how they are judged."""
    cluster: ClusterConfig = ClusterConfig()
    """How work is spread."""
    tracking: TrackingConfig = TrackingConfig()
    """A tracker that is shown curves, scores and times."""
    store: Place = "stores/study"
    """The folder or URL of all results."""
    report: Place | None = None
    """The report's file; report.html in the store's folder if left out."""
    title: str = "Polyneuron study"
    """What the report is called."""
    seed: Seed = 0
    """The seed of all random draws but the trainings'."""

    @model_validator(mode="after")
    def _fits_together(self) -> StudyConfig:
        require_different_names(self.models)
        if self.selection.rule == "top_ratio" and self.detection.mode != "full":
            raise ValueError(
                "selection.rule top_ratio needs the rank of every neuron: set detection.mode=full"
            )
        if self.activations.detectors and "ffn" not in self.detection.groups:
            raise ValueError(
                "activations.detectors find ffn neurons, to be compared with those of impacts: add ffn to detection.groups"
            )
        named = {
            "training.languages": {language for group in self.training.groups for language in group},
            "evaluation.languages": set(self.evaluation.languages or ()),
            "corpus.sources": set(self.corpus.sources),
        }
        for key, languages in named.items():
            if unknown := sorted(languages - set(self.languages)):
                raise ValueError(f"{key} names {', '.join(unknown)}, which languages does not list")
        return self

    @property
    def report_path(self) -> Path:
        """Where the report is written: `report`, else report.html in the store's folder.

        Raises:
            ConfigError: neither is a place of this machine.
        """
        if "://" in (self.report or self.store):
            raise ConfigError(
                "The report is a file of this machine, and the store is a URL: name one with report=…"
            )
        return Path(self.report) if self.report else Path(self.store) / "report.html"
