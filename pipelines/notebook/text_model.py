"""A causal language model that answers text with text, always with the likeliest token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from polyneuron.neuron_core.common.errors import ConfigError

_UNFINISHED = "�"
"""What a tokenizer decodes the first bytes of a character to."""


class TextModel:
    """A model with its tokenizer. `model` and `tokenizer` are those of transformers."""

    def __init__(self, model: Any, tokenizer: Any, adds_bos: bool) -> None:
        """`adds_bos`: whether prompts start with BOS."""
        self.model, self.tokenizer, self._adds_bos = model, tokenizer, adds_bos

    def __repr__(self) -> str:
        return f"TextModel({type(self.model).__name__}, {self.model.num_parameters():,} parameters)"

    def generate(self, prompt: str, max_tokens: int = 24, *, chat: bool = False) -> str:
        """What the model writes after `prompt`: at most `max_tokens` tokens, each the likeliest. `chat`: the prompt is a
        message in the model's own chat template.

        Raises ConfigError for an empty prompt, one that leaves no room for an answer, and a model without a chat template.
        """
        return "".join(self.stream(prompt, max_tokens, chat=chat))

    def stream(self, prompt: str, max_tokens: int = 24, *, chat: bool = False) -> Iterator[str]:
        """The same in pieces of whole characters, as they come. Raises as `generate`, before the first piece."""
        ids = self._ids(prompt, max_tokens, chat=chat)
        return self._pieces(ids, max_tokens)

    def _ids(self, prompt: str, max_tokens: int, *, chat: bool) -> list[int]:
        if not prompt.strip():
            raise ConfigError("The prompt is empty: give the model some text to go on from")
        if max_tokens < 1:
            raise ConfigError(f"An answer has at least one token; {max_tokens} were asked for")
        if chat:
            if not self.tokenizer.chat_template:
                raise ConfigError("This model has no chat template: it goes on from text, so leave chat out")
            prompt = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
            )
        ids: list[int] = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        if self._adds_bos and not chat:
            ids = [self.tokenizer.bos_token_id, *ids]
        longest = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if longest is not None and len(ids) + max_tokens > longest:
            raise ConfigError(
                f"The prompt has {len(ids)} tokens and the answer up to {max_tokens}, but the model reads {longest} at most"
            )
        return ids

    def _pieces(self, ids: list[int], max_tokens: int) -> Iterator[str]:
        cache, given, answer, shown = None, torch.tensor([ids], device=self.model.device), list[int](), ""
        for _ in range(max_tokens):
            with torch.no_grad():
                out = self.model(input_ids=given, past_key_values=cache, use_cache=True)
            cache, likeliest = out.past_key_values, out.logits[0, -1].argmax()
            if int(likeliest) in self._ends():
                break
            answer.append(int(likeliest))
            given = likeliest.view(1, 1)
            text = self.tokenizer.decode(answer, skip_special_tokens=True)
            if text.startswith(shown) and not text.endswith(_UNFINISHED):
                yield text[len(shown) :]
                shown = text
        yield self.tokenizer.decode(answer, skip_special_tokens=True)[len(shown) :]

    def _ends(self) -> set[int]:
        """The tokens that end an answer."""
        config = self.model.generation_config.eos_token_id
        listed = config if isinstance(config, list) else [config]
        return {token for token in (*listed, self.tokenizer.eos_token_id) if token is not None}
