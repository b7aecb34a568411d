"""A tokenizer that is loaded once it is asked for something that no earlier run asked of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xxhash import xxh3_128_hexdigest

from polyneuron.neuron_core.training.data.token_files import tokenizer_fingerprint
from polyneuron.pipelines.run.model_memory import ModelFacts, ModelMemory

_MOST_TOKENS = 2_000_000
"""Of all texts together, in a memory that is read whole; a study that reads more asks its tokenizer anew."""


class KnownTokenizer:
    """Answers as the tokenizer of transformers does, from memory where it can."""

    def __init__(
        self, facts: ModelFacts, load: Callable[[], Any], memory: ModelMemory | None, about: Any, name: str
    ) -> None:
        """`load`: gives the tokenizer itself; `about`: for what it is asked, since what is asked for one purpose is kept
        together; `name`: of the model, for messages."""
        self.name_or_path = name
        self.bos_token_id, self.eos_token_id = facts.bos_token_id, facts.eos_token_id
        self.pad_token_id, self.is_fast = facts.pad_token_id, facts.is_fast
        self._load, self._memory, self._about = load, memory, about
        kept = None if memory is None else memory.recall("tokens", of=about)
        self._known: dict[str, Any] = kept if isinstance(kept, dict) else {}
        self._asked: dict[str, Any] = {}

    def __call__(self, text: Any, add_special_tokens: bool = True, **more: Any) -> Any:
        """As the tokenizer itself; remembered are single texts."""
        if more or not isinstance(text, str):
            return self._load()(text, add_special_tokens=add_special_tokens, **more)

        def ids() -> list[int]:
            return list(self._load()(text, add_special_tokens=add_special_tokens)["input_ids"])

        key = xxh3_128_hexdigest(text.encode("utf-8", "surrogatepass"))
        return {"input_ids": self._answer(f"{key}{'+' if add_special_tokens else ''}", ids)}

    def __getattr__(self, name: str) -> Any:
        """Whatever else a tokenizer has."""
        return getattr(self._load(), name)

    def fingerprint(self) -> str:
        """As `tokenizer_fingerprint` of the tokenizer itself."""
        found: str = self._answer("fingerprint", lambda: tokenizer_fingerprint(self._load()))
        return found

    def keep(self) -> None:
        """Remembers what was asked since this was made, and that alone."""
        n_tokens = sum(len(answer) for answer in self._asked.values())
        if self._memory is not None and self._asked.keys() - self._known.keys() and n_tokens <= _MOST_TOKENS:
            self._memory.remember("tokens", self._asked, of=self._about)

    def _answer(self, key: str, find: Callable[[], Any]) -> Any:
        if key not in self._asked:
            self._asked[key] = self._known[key] if key in self._known else find()
        return self._asked[key]
