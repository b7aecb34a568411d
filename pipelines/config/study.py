"""The one typed configuration of every pipeline: its sections, their defaults and what each value may be.

Imports nothing heavy, so that `--help` and configuration errors answer at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from polyneuron.cluster.spec import Offload, Weights
from polyneuron.eval.engines.settings import Backend
from polyneuron.eval.tasks.benchmarks import BENCHMARKS
from polyneuron.neuron_core.activations.names import Site
from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.neuron_core.detectors.names import DetectorName
from polyneuron.neuron_core.impacts.modes import DetectionMode
from polyneuron.neuron_core.model.groups import DEFAULT_GROUPS, GROUPS
from polyneuron.neuron_core.passes.limits import FLOOR_FRACTION, NOISE_FLOOR_BYTES
from polyneuron.neuron_core.selection.names import RuleName
from polyneuron.neuron_core.sets.variant_name import BASE
from polyneuron.neuron_core.training.choices.names import HIGH_SCORE, LOW_SCORE, Strategy
from polyneuron.neuron_core.training.loop.settings import Schedule
from polyneuron.pipelines.config.corpus import CorpusConfig, MixturePart
from polyneuron.pipelines.config.section import Once, Place, Section, Seed


def _different_languages(languages: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(languages)) < 2 or len(set(languages)) != len(languages):
        raise ValueError("give at least two different languages; one has nothing to share")
    return languages


Languages = Annotated[tuple[str, ...], AfterValidator(_different_languages)]


class ModelConfig(Section):
    """A model. `path`: hub id, local folder or .gguf file; or `gguf_package`: a package that carries one."""

    path: str | None = None
    gguf_package: str | None = None
    name: str | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    revision: str | None = None
    trust_remote_code: bool = False
    add_bos: bool | None = None

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
    """What is measured. certified: q and k neurons that cannot be selected are bounded, not measured. `noise_floor`: how large
    the sets are by chance; auto measures it where impacts on every sentence fit into 1 GiB."""

    groups: tuple[str, ...] = Field(default=DEFAULT_GROUPS, min_length=1)
    mode: DetectionMode = "certified"
    batch_size: int = Field(default=8, ge=1)
    floor_fraction: float = Field(default=FLOOR_FRACTION, gt=0, le=1)
    noise_floor: Literal["auto", "on", "off"] = "auto"

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
    target_shared: float = Field(default=0.003, gt=0, lt=1)
    sigma: float | None = Field(default=None, gt=0)
    fraction: float = Field(default=0.01, gt=0, le=1)
    ratio: float = Field(default=0.05, gt=0, le=1)
    per_token: bool = True
    share: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _sigma_given(self) -> SelectionConfig:
        if self.rule == "sigma" and self.sigma is None:
            raise ValueError("the rule sigma needs selection.sigma")
        return self


class ActivationsConfig(Section):
    """Activation statistics and what detectors find in them; nothing is measured without `detectors`, which read the first
    of `sites`. `controls`: random sets deactivated beside each set that is found."""

    detectors: Annotated[tuple[DetectorName, ...], Once] = ()
    sites: Annotated[tuple[Site, ...], Once] = Field(default=("matched",), min_length=1)
    controls: int = Field(default=1, ge=0, le=1000)


class AblationConfig(Section):
    """Deactivation: draws of each kind of control, of the shared set and of each language's exclusive and strict set, and how
    many variants one pass over the model serves."""

    shared_control_seeds: int = Field(default=20, ge=0, le=1000)
    exclusive_control_seeds: int = Field(default=20, ge=0, le=1000)
    n_bootstrap: int = Field(default=2000, ge=1, le=1_000_000)
    variants_per_pass: int = Field(default=4, ge=1)
    batch_size: int = Field(default=8, ge=1)
    through: Literal["workers", "engine"] = "workers"

    @property
    def n_controls(self) -> dict[str, int]:
        """Draws of each kind of control, of the shared set and of each set of a language."""
        return {"shared": self.shared_control_seeds, "exclusive": self.exclusive_control_seeds}


class BenchmarkConfig(Section):
    """One benchmark of `polyneuron.eval.tasks.benchmarks`; a setting left out is the benchmark's own. max_items: per language."""

    name: str
    n_shots: int | None = Field(default=None, ge=0)
    max_gen_toks: int | None = Field(default=None, ge=1)
    max_items: int | None = Field(default=None, ge=1)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in BENCHMARKS:
            raise ValueError(f"there is no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
        return name


class EngineConfig(Section):
    """The inference engine: one a model, in one Ray actor with `gpus` GPUs of one node (0: CPU; below 1: a part of one)
    and `threads` cores."""

    backend: Backend = "vllm"
    gpus: float = Field(default=0, ge=0)
    threads: int = Field(default=1, ge=1)
    tensor_parallel: int = Field(default=1, ge=1)
    pipeline_parallel: int = Field(default=1, ge=1)
    max_model_len: int = Field(default=4096, ge=16)
    max_num_seqs: int = Field(default=64, ge=1)
    kv_cache_gib: int = Field(default=1, ge=1)
    gpu_memory_utilization: float = Field(default=0.85, gt=0, le=1)
    max_restarts: int = Field(default=2, ge=0)
    scratch: str | None = None

    @model_validator(mode="after")
    def _ranks_have_devices(self) -> EngineConfig:
        ranks = self.tensor_parallel * self.pipeline_parallel
        part = ranks == 1 and self.gpus < 1
        if self.gpus and self.gpus != ranks and not part:
            raise ValueError(f"tensor_parallel x pipeline_parallel is {ranks}, but gpus is {self.gpus:g}")
        if self.gpus and part and self.gpu_memory_utilization > self.gpus:
            raise ValueError(
                f"the engine has gpus={self.gpus:g} of a GPU to itself, but may take {self.gpu_memory_utilization:g} of its "
                f"memory: set gpu_memory_utilization to {self.gpus:g} or less"
            )
        return self


class EvaluationConfig(Section):
    """Benchmarks. `data`: hub, sample, or a folder with `<organisation>/<dataset>/`; `mmmlu_files`: for languages MMMLU
    lacks; `variants`: names or patterns (`*`) of the variants judged beside the base model; `languages`: a part of
    the study's."""

    benchmarks: Annotated[tuple[BenchmarkConfig, ...], Once] = ()
    data: str = "hub"
    revisions: dict[str, str] = Field(default_factory=dict)
    mmmlu_files: dict[str, str] = Field(default_factory=dict)
    variants: Annotated[tuple[str, ...], Once] = (
        "shared",
        "exclusive-*",
        "control-shared-0",
        "control-exclusive-*-0",
    )
    languages: Annotated[tuple[str, ...], Field(min_length=1), Once] | None = None
    alpha: float = Field(default=0.05, gt=0, lt=1)
    min_effect: float = Field(default=0.0, ge=0)
    engine: EngineConfig = EngineConfig()

    @field_validator("benchmarks", mode="before")
    @classmethod
    def _name_alone(cls, benchmarks: object) -> object:
        if not isinstance(benchmarks, list | tuple):
            return benchmarks
        return [{"name": entry} if isinstance(entry, str) else entry for entry in benchmarks]


class TrainingConfig(Section):
    """Masked continual pretraining of chosen neurons; nothing is trained without `languages`. `mixture`: "paper"
    (CulturaX, MADLAD-400, Wikipedia), a corpus, or corpora with shares, or with how they are read; batches in blocks of
    `max_tokens`. An entry of `languages` that is a list is trained together. `validate_every`: steps, 0 for first and last;
    `patience`: validations."""

    languages: Annotated[tuple[str | Annotated[tuple[str, ...], Field(min_length=1)], ...], Once] = ()
    strategies: Annotated[tuple[Strategy, ...], Once] = Field(default=("auto",), min_length=1)
    seeds: Annotated[tuple[Seed, ...], Once] = Field(default=(0,), min_length=1)
    mixture: dict[str, MixturePart] = Field(default={"paper": MixturePart()}, min_length=1)
    n_documents: Annotated[int, Field(ge=1)] | Literal["all"] = 100_000
    max_tokens: int = Field(default=1024, ge=3)
    epochs: int = Field(default=1, ge=1)
    max_steps: int | None = Field(default=None, ge=1)
    global_batch: int = Field(default=128, ge=1)
    micro_batch: int = Field(default=4, ge=1)
    learning_rate: float = Field(default=5e-5, gt=0)
    warmup: float = Field(default=0.03, ge=0, lt=1)
    schedule: Schedule = "cosine"
    weight_decay: float = Field(default=0.0, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    checkpoint_every: int = Field(default=100, ge=0)
    zero_stage: Literal[2, 3] = 2
    recomputed_layers: float = Field(default=0.0, ge=0, le=1)
    validate_every: int = Field(default=100, ge=0)
    n_validation: int = Field(default=50, ge=1)
    patience: int | None = Field(default=None, ge=1)
    low_score: float = LOW_SCORE
    high_score: float = HIGH_SCORE

    @field_validator("mixture", mode="before")
    @classmethod
    def _name_or_share_alone(cls, mixture: object) -> object:
        if isinstance(mixture, str):
            return {mixture: {}}
        if not isinstance(mixture, dict):
            return mixture
        return {name: part if isinstance(part, dict) else {"share": part} for name, part in mixture.items()}

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The languages of each training."""
        return tuple((entry,) if isinstance(entry, str) else entry for entry in self.languages)

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> TrainingConfig:
        if self.low_score > self.high_score:
            raise ValueError(f"low_score {self.low_score} is above high_score {self.high_score}")
        return self


class ClusterConfig(Section):
    """How work is spread: Ray actors that share each model, `models_at_once` models side by side. `weights`: each holds its
    share under DeepSpeed ZeRO-3 (shard), or reads layer after layer from the files (stream). A worker computes on one GPU,
    on a part of one (`gpus_per_worker` below 1, for small models), or on the CPU (0). `hidden_states_gib`: memory of a
    worker for what waits between layers; the rest lies in $TMPDIR. `offload`: where shards rest between gathers."""

    models_at_once: int = Field(default=1, ge=1)
    world_size: int = Field(default=1, ge=1)
    threads_per_worker: int = Field(default=1, ge=1)
    gpus_per_worker: float = Field(default=0, ge=0, le=1)
    weights: Weights = "shard"
    hidden_states_gib: float = Field(default=8.0, ge=0)
    offload: Offload = "none"
    max_restarts: int = Field(default=2, ge=0)
    hang_timeout_s: float = Field(default=600, gt=0)

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
    """A variant kept in a file: a weight edit or an intervention, as `save` wrote it. `model`: the label it is for."""

    name: str
    file: str
    model: str


class NightlyConfig(Section):
    """What is judged every night, and by what measure. `night`: the label under which it is stored (today, in UTC);
    `few_items`: what a comparison with too few items to be judged does to the night, fail it (exit code 2) or pass."""

    kind: Literal["nightly"] = "nightly"
    models: tuple[ModelConfig, ...] = Field(min_length=1)
    variants: tuple[VariantFile, ...] = ()
    languages: Annotated[tuple[str, ...], Once] = Field(min_length=1)
    evaluation: EvaluationConfig
    few_items: Literal["fail", "pass"] = "fail"
    store: Place = "stores/nightly"
    night: str | None = None
    seed: Seed = 0

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
    models: tuple[ModelConfig, ...] = Field(min_length=1)
    languages: Languages = ("en", "zh", "th", "sw", "fr", "de")
    corpus: CorpusConfig = CorpusConfig()
    detection: DetectionConfig = DetectionConfig()
    selection: SelectionConfig = SelectionConfig()
    activations: ActivationsConfig = ActivationsConfig()
    ablation: AblationConfig = AblationConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    cluster: ClusterConfig = ClusterConfig()
    store: Place = "stores/study"
    report: Place | None = None
    title: str = "Polyneuron study"
    seed: Seed = 0

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
