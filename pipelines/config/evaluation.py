"""Benchmarks, and the engine that judges by them. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from polyneuron.eval.engines.settings import Backend
from polyneuron.eval.tasks.benchmarks import BENCHMARKS
from polyneuron.pipelines.config.section import Once, Section


class BenchmarkConfig(Section):
    """One benchmark of `polyneuron.eval.tasks.benchmarks`."""

    name: str
    """One of `polyneuron ls benchmarks`."""
    n_shots: int | None = Field(default=None, ge=0)
    """Examples in the prompt; the benchmark's own number if left out."""
    max_gen_toks: int | None = Field(default=None, ge=1)
    """The longest answer in tokens; the benchmark's own if left out."""
    max_items: int | None = Field(default=None, ge=1)
    """Items of each language; all if left out."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in BENCHMARKS:
            raise ValueError(f"there is no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
        return name


class EngineConfig(Section):
    """The inference engine: one a model, in one Ray actor."""

    backend: Backend = "vllm"
    """vllm, or hf for cross-checks."""
    gpus: float = Field(default=0, ge=0)
    """GPUs of one node; 0: CPU; below 1: a part of one."""
    threads: int = Field(default=1, ge=1)
    """Cores, on a CPU."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that share each layer."""
    pipeline_parallel: int = Field(default=1, ge=1)
    """Stages that layers are divided into."""
    max_model_len: int = Field(default=4096, ge=16)
    """The longest prompt with its answer, in tokens."""
    max_num_seqs: int = Field(default=64, ge=1)
    """Prompts at work at a time."""
    kv_cache_gib: int = Field(default=1, ge=1)
    """Memory for keys and values on a CPU."""
    gpu_memory_utilization: float = Field(default=0.85, gt=0, le=1)
    """The share of a GPU's memory that vLLM takes."""
    max_restarts: int = Field(default=2, ge=0)
    """How often an engine that died is started again."""
    scratch: str | None = None
    """A folder for what engines hand over; the temporary folder if left out."""

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
    """Benchmarks of the base model and its variants."""

    benchmarks: Annotated[tuple[BenchmarkConfig, ...], Once] = ()
    """Benchmarks, by name alone or with settings; nothing is judged without any."""
    data: str = "hub"
    """Where items come from: hub, sample (a few that Polyneuron carries), or a folder with `<organisation>/<dataset>/`."""
    revisions: dict[str, str] = Field(default_factory=dict)
    """Commits of hub datasets, by dataset id."""
    mmmlu_files: dict[str, str] = Field(default_factory=dict)
    """CSV or Parquet files in MMMLU's columns, by language, for languages that it lacks."""
    variants: Annotated[tuple[str, ...], Once] = (
        "shared",
        "exclusive-*",
        "control-shared-0",
        "control-exclusive-*-0",
    )
    """Names or patterns (`*`) of the variants judged beside the base model."""
    languages: Annotated[tuple[str, ...], Field(min_length=1), Once] | None = None
    """A part of the study's languages; all if left out."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Level of the verdicts' tests."""
    min_effect: float = Field(default=0.0, ge=0)
    """Differences below it are no finding, whatever their p-value."""
    engine: EngineConfig = EngineConfig()
    """The inference engine that judges."""

    @field_validator("benchmarks", mode="before")
    @classmethod
    def _name_alone(cls, benchmarks: object) -> object:
        if not isinstance(benchmarks, list | tuple):
            return benchmarks
        return [{"name": entry} if isinstance(entry, str) else entry for entry in benchmarks]
