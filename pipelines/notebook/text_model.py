"""A causal language model that answers text with text, always with the likeliest token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

from polyneuron.eval.neurons.marks import UNFINISHED
from polyneuron.neuron_core.common.errors import ConfigError

Prompt = str | Sequence[Mapping[str, str]]
"""Text to go on from, or a conversation: messages with `role` and `content`, for the model's own chat template."""


class PromptTokenizer:
    """Turns prompts into tokens, and tokens into text as they come."""

    def __init__(self, tokenizer: Any, adds_bos: bool, longest: int | None) -> None:
        """`tokenizer`: of transformers. `adds_bos`: whether prompts start with BOS. `longest`: the most tokens of a prompt with
        its answer; None: as many as there are."""
        self.tokenizer, self._adds_bos, self._longest = tokenizer, adds_bos, longest

    def ids(self, prompt: Prompt, max_tokens: int) -> list[int]:
        """The tokens of a prompt. Raises ConfigError for an empty one, one that leaves no room for an answer of `max_tokens`,
        and a conversation with a model that has no chat template."""
        empty = not (prompt if isinstance(prompt, str) else prompt[-1]["content"]).strip()
        if empty:
            raise ConfigError("The prompt is empty: give the model some text to go on from")
        if max_tokens < 1:
            raise ConfigError(f"An answer has at least one token; {max_tokens} were asked for")
        ids: list[int] = self._of_text(prompt) if isinstance(prompt, str) else self._of_conversation(prompt)
        if self._longest is not None and len(ids) + max_tokens > self._longest:
            raise ConfigError(
                f"The prompt has {len(ids)} tokens and the answer up to {max_tokens}, but the model reads {self._longest} at most"
            )
        return ids

    def _of_text(self, prompt: str) -> list[int]:
        ids: list[int] = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        return [self.tokenizer.bos_token_id, *ids] if self._adds_bos else ids

    def _of_conversation(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        if not self.tokenizer.chat_template:
            raise ConfigError(
                "This model has no chat template, so it takes no messages: leave out --message (in Python, chat=True)"
            )
        text = self.tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def text(self, tokens: Iterable[int]) -> Iterator[str]:
        """The text of tokens, in pieces of whole characters."""
        answer, shown = list[int](), ""
        for token in tokens:
            answer.append(token)
            text = self.tokenizer.decode(answer, skip_special_tokens=True)
            if text.startswith(shown) and not text.endswith(UNFINISHED):
                yield text[len(shown) :]
                shown = text
        yield self.tokenizer.decode(answer, skip_special_tokens=True)[len(shown) :]


def longest_of(config: Any) -> int | None:
    """The most tokens that a model reads, by its configuration; None where that does not say."""
    longest: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    return longest


class TextModel:
    """A model with its tokenizer. `model` and `tokenizer` are those of transformers."""

    def __init__(self, model: Any, tokenizer: Any, adds_bos: bool) -> None:
        """`adds_bos`: whether prompts start with BOS."""
        self.model, self.tokenizer = model, tokenizer
        self._prompts = PromptTokenizer(tokenizer, adds_bos, longest_of(model.config))

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
        ids = self._prompts.ids([{"role": "user", "content": prompt}] if chat else prompt, max_tokens)
        return self._prompts.text(self.continued(ids, max_tokens))

    def continued(self, ids: Sequence[int], max_tokens: int) -> Iterator[int]:
        """The tokens that follow `ids`, without one that ends the answer."""
        cache, given = None, torch.tensor([list(ids)], device=self.model.device)
        for _ in range(max_tokens):
            with torch.no_grad():
                out = self.model(input_ids=given, past_key_values=cache, use_cache=True)
            cache, likeliest = out.past_key_values, out.logits[0, -1].argmax()
            if int(likeliest) in self._ends():
                return
            yield int(likeliest)
            given = likeliest.view(1, 1)

    def _ends(self) -> set[int]:
        """The tokens that end an answer."""
        config = self.model.generation_config.eos_token_id
        listed = config if isinstance(config, list) else [config]
        return {token for token in (*listed, self.tokenizer.eos_token_id) if token is not None}
