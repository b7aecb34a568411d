"""The model under study: resolved, fingerprinted, with tokenizer and sentences; workers start when needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from polyneuron.neuron_core.common.errors import ModelError
from polyneuron.neuron_core.passes.batches import Sentence
from polyneuron.pipelines.config.study import ModelConfig, NightlyConfig, StudyConfig
from polyneuron.pipelines.run.progress import bar, say

if TYPE_CHECKING:
    from polyneuron.eval.engines.settings import EngineSettings
    from polyneuron.eval.tasks.benchmark_data import BenchmarkData


_OPENING = threading.Lock()
"""Models open one after the other: transformers loads itself piece by piece, and a second thread finds pieces missing."""


@dataclass
class Subject:
    """One model of a study. Use as a context manager: leaving it ends the workers."""

    config: StudyConfig
    model: ModelConfig
    source: str
    hf_config: Any
    tokenizer: Any
    fingerprint: str
    detection: dict[str, list[Sentence]] = field(default_factory=dict)
    heldout: dict[str, list[Sentence]] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)
    _group: Any = None
    _judge: Any = None
    _data: Any = None

    @staticmethod
    def open(config: StudyConfig | NightlyConfig, model: ModelConfig) -> Subject:
        """Resolves the model and loads its config and tokenizer, not its weights.

        Raises:
            ModelError: nothing there, or nothing that can be read.
        """
        with _OPENING:
            from transformers import AutoTokenizer

            from polyneuron.neuron_core.model.load import load_config, model_fingerprint, resolve_model

            source = resolve_model(model_path(model))
            hf_config = load_config(source, model.revision, model.trust_remote_code)
            try:
                tokenizer = AutoTokenizer.from_pretrained(
                    source, revision=model.revision, trust_remote_code=model.trust_remote_code
                )
            except (OSError, ValueError) as error:
                raise ModelError(f"The tokenizer of {model.label} cannot be loaded: {error}") from error
        # A night has no stages that ask for more than the two configurations share.
        return Subject(
            cast("StudyConfig", config),
            model,
            source,
            hf_config,
            tokenizer,
            model_fingerprint(source, hf_config),
        )

    @property
    def name(self) -> str:
        """The name under which results are stored."""
        return self.model.label

    def __enter__(self) -> Subject:
        return self

    def __exit__(self, *exc: object) -> None:
        self._group = self._judge = None
        self._stack.close()

    def run(self, title: str, function: Any, batches: Sequence[Any], **kwargs: Any) -> list[Any]:
        """Runs a pass on the workers (started at first use); results by rank."""
        if self._group is None:
            self._stack.close()  # the engine, if it runs: the machine may not hold both
            self._judge, self._group = None, self._start()
        with bar(title) as report:
            results: list[Any] = self._group.run(function, batches, progress=report, **kwargs)
        return results

    @property
    def adds_bos(self) -> bool:
        """Whether prompts and sentences of this model start with BOS: as configured, else as its tokenizer does."""
        if self.model.add_bos is not None:
            return self.model.add_bos
        ids = self.tokenizer("a")["input_ids"]
        return self.tokenizer.bos_token_id is not None and ids[:1] == [self.tokenizer.bos_token_id]

    def benchmark_data(self) -> BenchmarkData:
        """The benchmarks' items; what was looked up once, such as the hub's commit, stays for as long as this subject."""
        from polyneuron.eval.tasks.benchmark_data import BenchmarkData

        if self._data is None:
            self._data = BenchmarkData(self.config.evaluation.data, self.config.evaluation.revisions)
        found: BenchmarkData = self._data
        return found

    @property
    def has_judge(self) -> bool:
        """Whether the engine has been asked for and not been ended."""
        return self._judge is not None

    def judge(self) -> Any:
        """The actor with the inference engine (`polyneuron.eval.tasks.judge.Judge`), which starts at its first call."""
        if self._judge is None:
            self._stack.close()
            self._group, self._judge = None, self._start_judge()
        return self._judge

    def _start_judge(self) -> Any:
        from polyneuron.cluster.actors.session import ray_session
        from polyneuron.cluster.actors.solo import SoloActor
        from polyneuron.eval.tasks.judge import Judge

        evaluation = self.config.evaluation
        engine = evaluation.engine
        self._stack.enter_context(ray_session(engine.threads))
        arguments = (self.engine_settings(), evaluation.data, dict(evaluation.revisions))
        return self._stack.enter_context(
            SoloActor(
                Judge,
                arguments,
                cpus=engine.threads,
                gpus=engine.gpus,
                max_restarts=engine.max_restarts,
                way_out="Lower the engine's threads or gpus, or add nodes",
                tell=_tell,
            )
        )

    def engine_settings(self) -> EngineSettings:
        """What the engine of this model is started with."""
        from polyneuron.eval.engines.settings import EngineSettings

        engine = self.config.evaluation.engine
        return EngineSettings(
            source=self.source,
            backend=engine.backend,
            dtype=self.model.dtype,
            add_bos=self.adds_bos,
            revision=self.model.revision,
            trust_remote_code=self.model.trust_remote_code,
            tensor_parallel=engine.tensor_parallel,
            pipeline_parallel=engine.pipeline_parallel,
            max_model_len=engine.max_model_len,
            max_num_seqs=engine.max_num_seqs,
            kv_cache_gib=engine.kv_cache_gib,
            gpu_memory_utilization=engine.gpu_memory_utilization,
            gpus=engine.gpus,
            seed=self.config.seed,
            scratch=engine.scratch,
        )

    def training_group(self, nf4: bool = False) -> Any:
        """A fresh group of workers that train, as a context manager; passes and engine are ended first. `nf4`: on a
        base in 4 bits."""
        self._stack.close()
        self._group = self._judge = None
        return self._workers(f"zero{self.config.training.zero_stage}", nf4)

    def _start(self) -> Any:
        return self._stack.enter_context(self._workers("passes"))

    @contextmanager
    def _workers(self, kind: str, nf4: bool = False) -> Iterator[Any]:
        from polyneuron.cluster.actors.group import ModelGroup
        from polyneuron.cluster.actors.session import ray_session
        from polyneuron.cluster.spec import GroupSpec, ModelSpec

        cluster = self.config.cluster
        say(f"  starting {cluster.world_size} worker{'s' if cluster.world_size > 1 else ''} for {self.name}")
        spec = ModelSpec(
            source=self.source,
            dtype=self.model.dtype,
            revision=self.model.revision,
            trust_remote_code=self.model.trust_remote_code,
            offload=cluster.offload,
            weights=cluster.weights,
            hidden_states_gib=cluster.hidden_states_gib,
            nf4=nf4,
        )
        group = GroupSpec(
            world_size=cluster.world_size,
            threads_per_worker=cluster.threads_per_worker,
            gpus_per_worker=cluster.gpus_per_worker,
            max_restarts=cluster.max_restarts,
            hang_timeout_s=cluster.hang_timeout_s,
        )
        with (
            ray_session(cluster.world_size * cluster.threads_per_worker),
            ModelGroup(spec, group, kind, _tell) as started,  # type: ignore[arg-type]
        ):
            yield started


def _tell(text: str) -> None:
    say(f"  {text}")


def model_path(model: ModelConfig) -> str:
    """The path, hub id or GGUF file of a model.

    Raises:
        ModelError: the package that should carry a GGUF file is not installed or carries none.
    """
    import importlib
    import importlib.util
    from pathlib import Path

    if model.gguf_package is None:
        assert model.path is not None
        return model.path
    spec = importlib.util.find_spec(model.gguf_package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"The package {model.gguf_package} is not installed. Install it (pip install "
            f"{model.gguf_package.replace('_', '-')}), or set models.0.path to a model folder"
        )
    for folder in spec.submodule_search_locations:
        if files := sorted(Path(folder).glob("*.gguf")):
            return str(files[0])
    module = importlib.import_module(model.gguf_package)
    if not hasattr(module, "assemble"):
        raise ModelError(f"The package {model.gguf_package} carries no .gguf file and cannot assemble one")
    return str(module.assemble())
