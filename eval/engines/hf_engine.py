"""The Hugging Face backend: the same variants and prompts as vLLM's, for cross-checks and small models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from polyneuron.eval.engines.settings import EngineSettings, apply_bos_rule
from polyneuron.neuron_core.measures.perplexity import SentenceNll, sentence_nlls
from polyneuron.neuron_core.model.identity import require_fingerprint
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches, require_rows
from polyneuron.neuron_core.passes.layer_major import LayerMajor

if TYPE_CHECKING:
    from polyneuron.eval.engines.settings import Change


class HfEngine:
    """lm-eval's HFLM around a model loaded by `load_model`."""

    def __init__(self, settings: EngineSettings) -> None:
        """Raises ModelError, UnsupportedArchitecture: as `load_model`; ModelError for other files than the driver's."""
        from lm_eval.models.huggingface import HFLM

        self.settings = settings
        device = settings.device
        if settings.fingerprint is not None:
            require_fingerprint(
                settings.source, settings.fingerprint, settings.revision, settings.trust_remote_code
            )
        self._model, tokenizer = load_model(
            settings.source,
            settings.dtype,
            revision=settings.revision,
            trust_remote_code=settings.trust_remote_code,
            device=device,
        )
        embedding = self._model.get_input_embeddings()
        embedding.register_forward_pre_hook(lambda module, args: require_rows(args[0], module.num_embeddings))
        self.lm: Any = HFLM(
            pretrained=self._model,
            tokenizer=tokenizer,
            batch_size=min(8, settings.max_num_seqs),
            max_length=settings.max_model_len,
            add_bos_token=settings.add_bos,
            device=device,
        )
        apply_bos_rule(self.lm, settings)

    @contextmanager
    def variant(self, change: Change) -> Iterator[None]:
        """As `Engine.variant`; WeightEdit restores bit for bit by itself."""
        if change is None:
            yield
            return
        with change.applied(self._model):
            yield

    def sentence_nlls(self, sentences: Sequence[Sentence]) -> list[SentenceNll]:
        """As `Engine.sentence_nlls`, in layer-major order."""
        batches = micro_batches(sentences, self.settings.max_num_seqs)
        return sentence_nlls(LayerMajor(self._model), batches, [None])[0]

    def lives(self) -> bool:
        """As `Engine.lives`; it has no process of its own."""
        return True

    def close(self) -> None:
        """Drops the model, which frees its memory."""
        del self._model, self.lm
