"""Answers: labels cover exactly the answer, what does not fit is cut from the left or dropped and counted."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from polyneuron.neuron_core.common.errors import CorpusError, ModelError, StoreError
from polyneuron.neuron_core.training.data.answer_blocks import (
    AnswerBlocks,
    AnswerFeed,
    prepare_answers,
)
from polyneuron.neuron_core.training.data.answers import AnswerCounts, Example, answer_tokens
from polyneuron.neuron_core.training.data.feed import with_attention
from polyneuron.neuron_core.training.data.packed_batch import NO_LABEL, PADDING
from polyneuron.neuron_core.training.loop.stepper import summed_loss
from tests.tiny_models import save_tiny_model, tiny_model

BOS, EOS = 1, 2
SCORED = Example("It rains, right?", " Yes, it is wet", scored=True)
WRITTEN = Example(
    "Context: Ida is nine.\n\nQuestion: How old?\n\nAnswer:", " nine", scored=False, needs_from=16
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def prepared(tmp_path: Path, tokenizer: Any, *examples: Example, **changes: Any) -> AnswerBlocks:
    settings: dict[str, Any] = dict(max_tokens=64, add_bos=False) | changes
    return prepare_answers(tmp_path / "cache", examples, "en", tokenizer, **settings)


@pytest.mark.parametrize("add_bos", [False, True])
def test_labels_cover_exactly_the_answer(tmp_path: Path, tokenizer: Any, add_bos: bool) -> None:
    blocks = prepared(tmp_path, tokenizer, SCORED, WRITTEN, add_bos=add_bos)
    assert len(blocks) == 2 and blocks.summary["n_truncated"] == 0
    for i, example in enumerate((SCORED, WRITTEN)):
        block = blocks[i]
        real, learnt = block.segment_ids != PADDING, block.labels != NO_LABEL
        text = ("<s>" if add_bos or example.scored else "") + example.prompt + example.answer
        text += "" if example.scored else "</s>"
        assert tokenizer.decode(block.input_ids[real]) == text
        assert tokenizer.decode(block.input_ids[learnt]) == example.answer + "</s>" * (not example.scored)
        assert torch.equal(block.labels[learnt], block.input_ids[learnt])
        assert block.position_ids[real].tolist() == list(range(int(real.sum())))
        assert not (learnt & ~real).any() and set(block.segment_ids[real].tolist()) == {i}
    assert blocks.summary["n_answer_tokens"] == len(SCORED.answer) + len(WRITTEN.answer) + 1


def test_a_prompt_too_long_loses_its_beginning_and_keeps_bos(tmp_path: Path, tokenizer: Any) -> None:
    ids, n_prompt = one(SCORED, tokenizer, max_tokens=20)
    assert ids[0] == BOS and n_prompt == 20 - len(SCORED.answer)
    assert tokenizer.decode(ids[1:]) == (SCORED.prompt + SCORED.answer)[-19:]
    whole = prepared(tmp_path, tokenizer, WRITTEN, max_tokens=64)[0]
    cut = prepared(tmp_path, tokenizer, WRITTEN, max_tokens=40)
    assert cut.summary["n_truncated"] == 1
    assert (
        cut[0].labels[cut[0].labels != NO_LABEL].tolist() == whole.labels[whole.labels != NO_LABEL].tolist()
    )


def one(example: Example, tokenizer: Any, max_tokens: int, add_bos: bool = False) -> tuple[list[int], int]:
    (found,) = answer_tokens([example], tokenizer, max_tokens, add_bos, AnswerCounts())
    return found


@pytest.mark.parametrize(
    ("example", "max_tokens", "reason"),
    [
        (SCORED, len(SCORED.answer) + 1, "answer_too_long"),
        (WRITTEN, len(WRITTEN.prompt) + len(WRITTEN.answer) + 1 - 17, "evidence_cut"),
    ],
)
def test_what_cannot_be_learnt_is_counted_by_its_reason(
    tokenizer: Any, example: Example, max_tokens: int, reason: str
) -> None:
    counts = AnswerCounts()
    assert not list(answer_tokens([example], tokenizer, max_tokens, False, counts))
    assert counts.dropped == {reason: 1} and not counts.kept
    assert one(example, tokenizer, max_tokens + 1)


def test_a_token_that_joins_prompt_and_answer_is_not_learnt_in_written_answers(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    joined = Tokenizer(models.BPE(vocab={"</s>": 0, "a": 1, ":": 2, "b": 3, ":b": 4}, merges=[(":", "b")]))
    joined.pre_tokenizer, joined.decoder = (
        pre_tokenizers.ByteLevel(False, use_regex=False),
        decoders.ByteLevel(),
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=joined, eos_token="</s>")
    counts = AnswerCounts()
    examples = [Example("a:", "b", scored) for scored in (True, False)]
    (found,) = answer_tokens(examples, fast, 9, False, counts)
    assert found == ([0, 1, 4], 2)  # EOS stands where there is no BOS
    assert counts.dropped == {"tokens_joined": 1}


def test_the_cache_is_found_again_and_keyed_by_all_that_decides(tmp_path: Path, tokenizer: Any) -> None:
    first = prepared(tmp_path, tokenizer, SCORED)
    assert prepared(tmp_path, tokenizer, SCORED).folder == first.folder
    others = [
        prepared(tmp_path, tokenizer, WRITTEN),
        prepared(tmp_path, tokenizer, SCORED, max_tokens=50),
        prepared(tmp_path, tokenizer, SCORED, add_bos=True),
    ]
    assert len({first.key, *(other.key for other in others)}) == 4
    (first.folder / "tokens.npy").write_bytes(b"")
    with pytest.raises(StoreError, match="Delete the folder"):
        AnswerBlocks(first.folder)
    with pytest.raises(CorpusError, match="None of 1 examples .* answer_too_long 1"):
        prepared(tmp_path, tokenizer, SCORED, max_tokens=3)
    with pytest.raises(IndexError, match="no block 1 of 1"):
        first[1]


def test_a_tokenizer_without_eos_is_refused(tmp_path: Path, folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no EOS token"):
        prepared(tmp_path, tokenizer, SCORED)


def test_a_batch_is_as_long_as_its_longest_item_and_loses_nothing(tmp_path: Path, tokenizer: Any) -> None:
    blocks = prepared(tmp_path, tokenizer, SCORED, WRITTEN)
    model = tiny_model("gemma3", vocab_size=len(tokenizer))
    feed = AnswerFeed(
        folders=(str(blocks.folder),),
        config=with_attention(model.config),
        dtype="float32",
        global_batch=2,
        seed=0,
        epochs=3,
    )
    assert feed.sampler.n_steps(2) == 3
    feed = pickle.loads(pickle.dumps(feed))
    assert feed.batch([0]).input_ids.shape[1] == 1 + len(SCORED.prompt + SCORED.answer)
    with torch.no_grad():
        together = summed_loss(model, feed.batch([0, 1])).item()
        alone = sum(summed_loss(model, feed.batch([i])).item() for i in (0, 1))
    assert together == pytest.approx(alone, rel=1e-5)
