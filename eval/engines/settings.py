"""What an engine is started with, and its start. Imports nothing heavy, before an engine is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from polyneuron.neuron_core.common.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from polyneuron.neuron_core.edits.intervened_edit import IntervenedEdit
    from polyneuron.neuron_core.edits.intervention import Intervention
    from polyneuron.neuron_core.edits.weight_edit import WeightEdit
    from polyneuron.neuron_core.measures.perplexity import SentenceNll
    from polyneuron.neuron_core.passes.batches import Sentence

    Change = WeightEdit | Intervention | IntervenedEdit | None
    """What a variant changes in the base model; None: nothing."""

Backend = Literal["vllm", "hf"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings:
    """One engine of one base model."""

    source: str
    """Hub id or local folder of the model."""
    backend: Backend
    """Which engine computes."""
    dtype: str
    """Of weights and activations, as torch names it."""
    add_bos: bool
    """Whether prompts start with BOS; resolved, never left to a default."""
    revision: str | None = None
    """The hub's commit, branch or tag."""
    trust_remote_code: bool = False
    """Whether code that comes with the model may run."""
    fingerprint: str | None = None
    """What `model_fingerprint` gave the driver; an engine that finds other files is refused. None: not compared."""
    tensor_parallel: int = 1
    """Ranks that share each layer."""
    pipeline_parallel: int = 1
    """Ranks that share out the layers."""
    max_model_len: int = 4096
    """Longest prompt with its answer, in tokens."""
    max_num_seqs: int = 64
    """Sequences computed at once."""
    kv_cache_gib: int = 1
    """Key-value cache on a CPU."""
    gpu_memory_utilization: float = 0.85
    """Share of each GPU that vLLM may take."""
    gpus: float = 0
    """GPUs that Ray keeps for the engine; 0: it runs on the CPU."""
    seed: int = 0
    """Seed of vLLM."""
    scratch: str | None = None
    """Folder that all ranks see, for the files of edits; None: this machine's temporary folder."""

    @property
    def device(self) -> str:
        """The kind of device that it computes on, as torch names it."""
        return "cuda" if self.gpus else "cpu"


class Engine(Protocol):
    """What the harness needs of a backend. One change is in force at a time."""

    settings: EngineSettings
    lm: Any
    """The lm-eval model object."""

    def variant(self, change: Change) -> AbstractContextManager[None]:
        """Inside, the model has the change; after it, the base model is back, checked. Raises SetError when the change does not
        fit, and the engine is as it was; EngineError when the weights are not."""
        ...

    def sentence_nlls(self, sentences: Sequence[Sentence]) -> list[SentenceNll]:
        """Negative log likelihood of every sentence under the change in force, ordered by language, sentence."""
        ...

    def lives(self) -> bool:
        """Whether all its processes run; without one of them it is of no use."""
        ...

    def close(self) -> None:
        """Frees the engine's processes and memory."""
        ...


def start_engine(settings: EngineSettings) -> Engine:
    """Starts the engine of a backend: seconds for a small model, minutes for a large one. Raises EngineError, which says what to
    change, when it cannot start, and ModelError when the model cannot be read."""
    if settings.backend == "hf":
        from polyneuron.eval.engines.hf_engine import HfEngine

        return HfEngine(settings)
    from polyneuron.eval.engines.vllm_engine import VllmEngine

    return VllmEngine(settings)


def apply_bos_rule(lm: Any, settings: EngineSettings) -> None:
    """Makes prompts begin as asked, or raises EngineError. lm-eval only passes the wish on, and a tokenizer without a BOS
    template (one from a GGUF file, say) ignores it silently; such a one is given the template."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = lm.tokenizer
    if settings.add_bos and tokenizer.bos_token_id is not None and not _begins_with_bos(lm):
        bos = (tokenizer.bos_token, tokenizer.bos_token_id)
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{bos[0]} $A", pair=f"{bos[0]} $A {bos[0]} $B", special_tokens=[bos]
        )
    if _begins_with_bos(lm) != settings.add_bos:
        raise EngineError(
            f"models.add_bos is {str(settings.add_bos).lower()}, but prompts of {settings.source} begin with the tokens "
            f"{list(lm.tok_encode('a'))[:2]}: its tokenizer has its own way. Leave models.add_bos unset"
        )


def _begins_with_bos(lm: Any) -> bool:
    bos = lm.tokenizer.bos_token_id
    return bos is not None and list(lm.tok_encode("a"))[:1] == [bos]
