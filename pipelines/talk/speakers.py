"""How voices are made to speak: by transformers, or by vLLM; always with the likeliest token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from polyneuron.eval.engines.settings import Backend, EngineSettings
from polyneuron.pipelines.run.chatter import quietly
from polyneuron.pipelines.talk.voices import Voice

if TYPE_CHECKING:
    from polyneuron.pipelines.notebook.study import OpenedStudy
    from polyneuron.pipelines.notebook.text_model import Prompt

Speak = Callable[[Voice, "Prompt"], Iterator[str]]
"""Looks at a prompt, and yields a voice's answer to it in pieces of whole characters."""
Continue = Callable[[Voice, Sequence[int]], Iterator[int]]
"""Yields the tokens that a voice says after others."""
_LONGEST = 2048
"""Tokens of a prompt with its answer that vLLM makes room for."""


@contextmanager
def speaking(study: OpenedStudy, backend: Backend, max_tokens: int) -> Iterator[Speak]:
    """Inside, voices of the study answer with at most `max_tokens` tokens.

    Raises as `OpenedStudy.studied`; a prompt raises as `PromptTokenizer.ids`, an answer EngineError where vLLM cannot start.
    """
    from polyneuron.pipelines.notebook.text_model import PromptTokenizer, longest_of

    with quietly():
        studied = study.studied
    longest = longest_of(studied.hf_config)
    if backend == "vllm":
        longest = min(longest or _LONGEST, _LONGEST)
    prompts = PromptTokenizer(studied.tokenizer, studied.adds_bos, longest)
    engine = (
        _transformers(study, max_tokens) if backend == "hf" else _vllm(study, max_tokens, longest or _LONGEST)
    )
    with engine as continued:
        yield lambda voice, prompt: prompts.text(continued(voice, prompts.ids(prompt, max_tokens)))


@contextmanager
def _transformers(study: OpenedStudy, max_tokens: int) -> Iterator[Continue]:
    def tokens(voice: Voice, ids: Sequence[int]) -> Iterator[int]:
        with study.applied(voice.change) as model:
            yield from model.continued(ids, max_tokens)

    def continued(voice: Voice, ids: Sequence[int]) -> Iterator[int]:
        with quietly():
            assert study.base  # is loaded here, and not while answers are shown
        return tokens(voice, ids)

    yield continued


@contextmanager
def _vllm(study: OpenedStudy, max_tokens: int, longest: int) -> Iterator[Continue]:
    from polyneuron.eval.engines.vllm_engine import VllmEngine

    settings = EngineSettings(
        source=study.studied.source,
        backend="vllm",
        dtype=study.studied.dtype,
        add_bos=study.studied.adds_bos,
        revision=study.studied.revision,
        trust_remote_code=study.studied.config.trust_remote_code,
        fingerprint=study.studied.fingerprint,
        max_model_len=longest,
        max_num_seqs=1,
        gpus=1 if torch.cuda.is_available() else 0,
    )
    with quietly():
        engine = VllmEngine(settings)

    def continued(voice: Voice, ids: Sequence[int]) -> Iterator[int]:
        with engine.variant(voice.change):
            yield from engine.continued(ids, max_tokens)

    try:
        yield continued
    finally:
        engine.close()
