"""Blocks of prompts with answers, as they lie in their cache: one item a block, the answer labelled."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.training.data import token_files
from polyneuron.neuron_core.training.data.answers import AnswerCounts, Example, answer_tokens
from polyneuron.neuron_core.training.data.blocks import filled_block
from polyneuron.neuron_core.training.data.feed import Feed
from polyneuron.neuron_core.training.data.packed_batch import PADDING, Block, PackedBatch


class AnswerBlocks(token_files.TokenFolder, Dataset[Block]):
    """The items in a folder that `prepare_answers` made."""

    def __init__(self, folder: str | Path) -> None:
        """Opens a folder and reads only what is asked for. Raises StoreError where it is missing or damaged."""
        super().__init__(folder, ("tokens", "starts", "n_prompt"), starts="starts")

    def __len__(self) -> int:
        return len(self.arrays["n_prompt"])

    def __getitem__(self, index: int) -> Block:
        """The block of item `index`, from 0 on. Raises IndexError where there is none."""
        if not 0 <= index < len(self):
            raise IndexError(f"There is no block {index} of {len(self)}")
        tokens, starts, n_prompt = (self.arrays[name] for name in ("tokens", "starts", "n_prompt"))
        item = tokens[starts[index] : starts[index + 1]], index, int(n_prompt[index])
        return filled_block(self.max_tokens, self.pad_id, [item])


def prepare_answers(
    cache: str | Path,
    examples: Sequence[Example],
    language: str,
    tokenizer: Any,
    *,
    max_tokens: int,
    add_bos: bool,
) -> AnswerBlocks:
    """The blocks of some examples, from the cache below `cache` if they were made before, else made whole or not at all.
    `tokenizer`: a fast one with an EOS token. `max_tokens`: of a block. `add_bos`: whether a prompt begins with BOS, as it
    will when the benchmark is asked. Raises CorpusError when no example can be learnt, ModelError for a tokenizer that is
    not fast, or lacks EOS or the BOS asked for, and StoreError when the cache cannot be written or is damaged."""
    token_files.require_usable(tokenizer, add_bos)

    def write(folder: Path) -> Mapping[str, Any]:
        counts = AnswerCounts()
        items = list(answer_tokens(examples, tokenizer, max_tokens, add_bos, counts))
        if not items:
            reasons = ", ".join(f"{reason} {n}" for reason, n in counts.dropped.items()) or "there are none"
            raise CorpusError(
                f"None of {len(examples)} examples can be learnt with max_tokens {max_tokens}: {reasons}"
            )
        lengths = np.array([len(ids) for ids, _ in items])
        n_prompt = np.array([n for _, n in items], np.int32)
        token_files.save_array(
            folder, "tokens", np.concatenate([np.array(ids, np.int32) for ids, _ in items])
        )
        token_files.save_array(folder, "starts", np.cumsum([0, *lengths], dtype=np.int64))
        token_files.save_array(folder, "n_prompt", n_prompt)
        return {
            "language": language,
            "n_examples": counts.kept,
            "n_truncated": counts.truncated,
            "n_tokens": int(lengths.sum()),
            "n_answer_tokens": int((lengths - n_prompt).sum()),
            "dropped": dict(sorted(counts.dropped.items())),
        }

    deciding = {
        "examples": token_files.digest([asdict(example) for example in examples]),
        "max_tokens": max_tokens,
        "add_bos": add_bos,
    }
    return AnswerBlocks(token_files.cached_folder(cache, language, tokenizer, deciding, write))


class AnswerFeed(Feed):
    """A `Feed` of the folders of `prepare_answers`. A micro-batch is as long as its longest item."""

    @staticmethod
    def open(folder: str) -> Dataset[Block]:
        """The items of one folder, as blocks."""
        return AnswerBlocks(folder)

    def batch(self, indices: Sequence[int]) -> PackedBatch:
        """Some items as one forward pass, without the last columns that are padding in all of them."""
        blocks = [self.blocks[index] for index in indices]
        n_tokens = max(int((block.segment_ids != PADDING).sum()) for block in blocks)
        return self.packed([Block(*(tensor[:n_tokens] for tensor in block)) for block in blocks])
