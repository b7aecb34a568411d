"""The vLLM backend: one engine per base model; variants are written into its weights and taken out again."""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyneuron.eval.engines.settings import EngineSettings, apply_bos_rule
from polyneuron.neuron_core.common.errors import EngineError, ModelError, SetError
from polyneuron.neuron_core.edits.intervened_edit import IntervenedEdit
from polyneuron.neuron_core.edits.intervention import Intervention
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.measures.perplexity import SentenceNll
from polyneuron.neuron_core.model.folder import INDEX
from polyneuron.neuron_core.model.identity import require_fingerprint, require_finite_files
from polyneuron.neuron_core.model.load import dtype_of
from polyneuron.neuron_core.model.opening import load_config, load_tokenizer
from polyneuron.neuron_core.model.skeleton import skeleton_of
from polyneuron.neuron_core.passes.batches import Sentence

if TYPE_CHECKING:
    from polyneuron.eval.engines.settings import Change

_EXTENSION = "polyneuron.eval.engines.vllm_extension.WeightEditExtension"


class VllmEngine:
    """lm-eval's vLLM model around one engine, which runs eagerly: compiled graphs ignore hooks silently."""

    def __init__(self, settings: EngineSettings) -> None:
        """Raises ModelError for files that `load_model` would refuse, EngineError with what to lower when memory is short, and
        for anything else that stops it."""
        self.settings = settings
        _look_at_files(settings)
        _environment(settings)
        lm_class = _lm_class()
        try:
            self.lm: Any = lm_class(
                settings.source,
                dtype=settings.dtype,
                revision=settings.revision,
                tokenizer_revision=settings.revision,
                trust_remote_code=settings.trust_remote_code,
                add_bos_token=settings.add_bos,
                tensor_parallel_size=settings.tensor_parallel,
                pipeline_parallel_size=settings.pipeline_parallel,
                max_model_len=settings.max_model_len,
                max_num_seqs=settings.max_num_seqs,
                gpu_memory_utilization=settings.gpu_memory_utilization,
                seed=settings.seed,
                load_format="safetensors",  # else it would unpickle a checkpoint that has no safetensors files
                enforce_eager=True,
                worker_extension_cls=_EXTENSION,
            )
        except Exception as error:
            raise _explained(error, settings) from error
        apply_bos_rule(self.lm, settings)
        self._llm = self.lm.model
        self._layers = self._llm.llm_engine.model_config.hf_text_config.num_hidden_layers
        self._generate([[self.lm.eot_token_id or 0]])  # the first request pays for what later ones do not

    @contextmanager
    def variant(self, change: Change) -> Iterator[None]:
        """As `Engine.variant`, on every tensor- and pipeline-parallel rank."""
        if change is None:
            yield
            return
        parts = change.parts if isinstance(change, IntervenedEdit) else (change,)
        with tempfile.TemporaryDirectory(dir=self.settings.scratch) as folder:
            try:
                for part in parts:
                    self._apply(part, Path(folder) / "change.safetensors")
                self._forget_prefixes()
                yield
            finally:
                self._restore()

    def _apply(self, part: WeightEdit | Intervention, file: Path) -> None:
        """Applies one part of a change on all ranks. Raises SetError where a rank refuses it; the caller restores."""
        method = "polyneuron_intervene" if isinstance(part, Intervention) else "polyneuron_apply"
        done = self._llm.collective_rpc(method, args=(str(part.save(file)),))
        if refused := [rank["error"] for rank in done if "error" in rank]:
            raise SetError(f"The change {part.name!r} cannot be applied: {refused[0]}")
        missing = set(range(self._layers)) - {layer for rank in done for layer in rank["layers"]}
        if missing:
            raise EngineError(f"No rank of the engine holds layers {sorted(missing)}; report this")

    def _restore(self) -> None:
        if not all(self._llm.collective_rpc("polyneuron_restore")):
            raise EngineError(
                "After restoring, the engine's weights are not what they were: results from now on would be wrong. "
                "Start the engine again, and report this"
            )
        self._forget_prefixes()

    def _forget_prefixes(self) -> None:
        """Without this, cached keys and values of the old weights answer for the new ones."""
        if not self._llm.reset_prefix_cache():
            raise EngineError("vLLM did not reset its prefix cache while requests were running")

    def sentence_nlls(self, sentences: Sequence[Sentence]) -> list[SentenceNll]:
        """As `Engine.sentence_nlls`, from the log-probabilities that vLLM reports of the prompt's tokens."""
        ordered = sorted(sentences, key=lambda s: (s.language, s.index))
        outputs = self._generate([list(sentence.token_ids) for sentence in ordered])
        return [
            _nll(sentence, output.prompt_logprobs) for sentence, output in zip(ordered, outputs, strict=True)
        ]

    def _generate(self, prompts: list[list[int]]) -> list[Any]:
        from vllm import SamplingParams, TokensPrompt

        parameters = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        found: list[Any] = self._llm.generate(
            [TokensPrompt(prompt_token_ids=ids) for ids in prompts], parameters, use_tqdm=False
        )
        return found

    def continued(self, ids: Sequence[int], max_tokens: int) -> Iterator[int]:
        """The likeliest tokens that follow `ids`, as they come; without one that ends the answer."""
        from vllm import SamplingParams, TokensPrompt

        engine, name = self._llm.llm_engine, f"answer-{uuid.uuid4()}"
        ends = [token for token in [self.lm.eot_token_id] if token is not None]
        parameters = SamplingParams(
            temperature=0, max_tokens=max_tokens, stop_token_ids=ends, detokenize=False
        )
        (prompt,) = engine.renderer.render_cmpl([TokensPrompt(prompt_token_ids=list(ids))])
        engine.add_request(name, prompt, parameters)
        given = 0
        try:
            while engine.has_unfinished_requests():
                for output in engine.step():
                    (answer,) = output.outputs
                    n_whole = len(answer.token_ids) - (answer.finish_reason == "stop")
                    yield from answer.token_ids[given:n_whole]
                    given = n_whole
        finally:
            engine.abort_request([name])

    def lives(self) -> bool:
        """As `Engine.lives`: vLLM notes that its core, or a rank, has ended. A core in this process lives as long as it."""
        resources = getattr(self._llm.llm_engine.engine_core, "resources", None)
        return not getattr(resources, "engine_dead", False)

    def close(self) -> None:
        """Ends the engine's core and its workers."""
        self._llm.llm_engine.engine_core.shutdown()
        del self._llm, self.lm


def _nll(sentence: Sentence, logprobs: Any) -> SentenceNll:
    pairs = zip(sentence.token_ids[1:], logprobs[1:], strict=True)
    total = -sum(found[token].logprob for token, found in pairs)
    return SentenceNll(sentence.language, sentence.index, total, len(sentence.token_ids) - 1)


def _look_at_files(settings: EngineSettings) -> None:
    """vLLM takes what it finds: here it gets the files that transformers would read, whole and finite, and no others."""
    trusted, revision = settings.trust_remote_code, settings.revision
    config = load_config(settings.source, revision, trusted)
    load_tokenizer(settings.source, config, revision, trusted)
    files = skeleton_of(settings.source, config, dtype_of(settings.dtype), revision, trusted).files
    if settings.fingerprint is None:
        require_finite_files(files.paths)
    else:
        require_fingerprint(settings.source, settings.fingerprint, revision, trusted)
    folder = files.paths[0].parent
    others = sorted(path.name for path in folder.glob("*.safetensors") if path not in files.paths)
    if others and not (folder / INDEX).is_file():
        raise ModelError(
            f"{folder} holds {', '.join(others[:3])} beside the model's weights, and vLLM would read them too. Move them "
            "elsewhere"
        )


def _environment(settings: EngineSettings) -> None:
    """Read by vLLM when it is imported, so set before."""
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    # All ranks are on this machine: they find each other through a file and talk over loopback.
    os.environ["VLLM_HOST_IP"] = "127.0.0.1"
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    if settings.tensor_parallel == settings.pipeline_parallel == 1:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    if not settings.gpus:
        os.environ["VLLM_TARGET_DEVICE"] = "cpu"
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(settings.kv_cache_gib)
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")


def _lm_class() -> Any:
    """lm-eval's vLLM class. It asks for the version of a distribution named vllm; the CPU build has another name."""
    import vllm

    real = importlib.metadata.version

    def version(distribution_name: str) -> str:
        return vllm.__version__ if distribution_name == "vllm" else real(distribution_name)

    importlib.metadata.version = version
    try:
        from lm_eval.models.vllm_causallms import VLLM
    finally:
        importlib.metadata.version = real
    return VLLM


_SHORT_OF_MEMORY = ("out of memory", "memory for the cache", "kv cache", "cannot allocate", "free memory")


def _explained(error: Exception, settings: EngineSettings) -> Exception:
    text = f"{type(error).__name__}: {_last_line(error)}"
    if any(sign in str(error).lower() for sign in _SHORT_OF_MEMORY):
        room = (
            "evaluation.engine.gpu_memory_utilization (or raise it when other programs left room)"
            if settings.gpus
            else "evaluation.engine.kv_cache_gib"
        )
        return EngineError(
            f"vLLM ran out of memory for {settings.source} ({text}). Lower evaluation.engine.max_model_len "
            f"({settings.max_model_len}) or evaluation.engine.max_num_seqs ({settings.max_num_seqs}), change {room}, "
            "or raise evaluation.engine.tensor_parallel"
        )
    if isinstance(error, OSError):
        return ModelError(f"vLLM cannot read {settings.source}: {_last_line(error)}")
    return EngineError(
        f"vLLM cannot run {settings.source}: {text}. evaluation.engine.backend=hf runs any supported model, slower"
    )


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
