"""Prompts with answers as token ids: what a model is taught so that a benchmark, asked in the same words, finds it.

Only the answer is learnt: the prompt's tokens carry no label. A text is tokenised exactly as the benchmark gives it to the
model, of which there are two ways (see `Example.scored`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

_A_BATCH = 256


@dataclass(frozen=True)
class Example:
    """One item of a task; the answer follows the prompt as it stands, its leading space included."""

    prompt: str
    answer: str
    scored: bool
    """How the benchmark judges. True: it compares likelihoods of whole texts, so BOS (EOS where there is none) stands
    before the text and nothing closes it. False: it lets the model write after the prompt, so the prompt begins as any text
    of the model does, and EOS closes the answer."""
    needs_from: int | None = None
    """Truncation must leave the prompt whole from this character on; None: only the answer."""


@dataclass
class AnswerCounts:
    """What became of the examples. Reasons to drop one: answer_too_long, evidence_cut, tokens_joined (a token holds the end of
    the prompt and the beginning of the answer, which a model that goes on from the prompt can never write)."""

    kept: int = 0
    truncated: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def answer_tokens(
    examples: Sequence[Example], tokenizer: Any, max_tokens: int, add_bos: bool, counts: AnswerCounts
) -> Iterator[tuple[list[int], int]]:
    """Yields the token ids of every example that can be learnt, and how many of them are the prompt's. A text longer than
    `max_tokens` loses the beginning of its prompt (BOS stays), as lm-eval cuts it. `tokenizer`: a fast one with an EOS
    token. `add_bos`: whether a prompt begins with BOS; a scored text does wherever there is one. `counts` is filled while
    the iterator runs."""
    left = iter(examples)
    while batch := list(islice(left, _A_BATCH)):
        texts = [example.prompt + example.answer for example in batch]
        whole = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        prompts = tokenizer([e.prompt for e in batch], add_special_tokens=False, verbose=False)["input_ids"]
        for example, ids, offsets, prompt_ids in zip(
            batch, whole["input_ids"], whole["offset_mapping"], prompts, strict=True
        ):
            head = _head(ids, tokenizer, add_bos or example.scored, example.scored)
            tail = [] if example.scored else [tokenizer.eos_token_id]
            fitted = _fitted(example, ids, offsets, prompt_ids, max_tokens - len(head) - len(tail))
            if isinstance(fitted, str):
                counts.dropped[fitted] += 1
                continue
            excess, n_prompt = fitted
            counts.kept += 1
            counts.truncated += excess > 0
            yield [*head, *ids[excess:], *tail], len(head) + n_prompt - excess


def _fitted(
    example: Example, ids: list[int], offsets: Sequence[tuple[int, int]], prompt_ids: list[int], room: int
) -> tuple[int, int] | str:
    """How many tokens are cut, and how many of all are the prompt's; or why the example is dropped."""
    # A token may hold the space before a word or not, so the ends tell which token is the answer's first.
    n_prompt = next(i for i, (_, end) in enumerate(offsets) if end > len(example.prompt))
    if not example.scored and ids[:n_prompt] != prompt_ids:
        return "tokens_joined"
    excess = max(0, len(ids) - room)
    if excess and excess >= n_prompt:
        return "answer_too_long"
    if example.needs_from is not None and offsets[excess][0] > example.needs_from:
        return "evidence_cut"
    return excess, n_prompt


def _head(ids: list[int], tokenizer: Any, wanted: bool, or_eos: bool) -> list[int]:
    first = tokenizer.eos_token_id if tokenizer.bos_token_id is None and or_eos else tokenizer.bos_token_id
    return [first] if wanted and first is not None and ids[0] != first else []
