"""Packed batches: documents in one block do not see each other, in any family, with sliding windows or without."""

from typing import Any

import pytest
import torch

from polyneuron.neuron_core.common.errors import ModelError, UnsupportedArchitecture
from polyneuron.neuron_core.training.data.packed_batch import (
    NO_LABEL,
    PADDING,
    Block,
    PackedBatch,
    document_mask,
    model_masks,
)
from polyneuron.neuron_core.training.loop.stepper import n_predicted
from tests.tiny_models import TINY, tiny_model, token_ids

PAD = 0


def _block(pieces: list[list[int]], n_padding: int) -> Block:
    ids = [token for piece in pieces for token in piece]
    labels = [label for piece in pieces for label in (NO_LABEL, *piece[1:])]
    return Block(
        torch.tensor(ids + [PAD] * n_padding),
        torch.tensor([i for piece in pieces for i in range(len(piece))] + list(range(n_padding))),
        torch.tensor([n for n, piece in enumerate(pieces) for _ in piece] + [PADDING] * n_padding),
        torch.tensor(labels + [NO_LABEL] * n_padding),
    )


_MIXED: dict[str, Any] = dict(
    sliding_window=5, layer_types=["sliding_attention", "full_attention"], num_hidden_layers=2
)
_WINDOWS: list[tuple[str, dict[str, Any]]] = [
    ("gemma3", _MIXED),
    ("gemma3-multimodal", _MIXED),
    ("qwen2", dict(_MIXED, use_sliding_window=True)),
    ("qwen3", dict(_MIXED, use_sliding_window=True)),
    ("phi3", dict(sliding_window=5)),
]


@pytest.mark.parametrize("name, changes", [*((name, {}) for name in TINY), *_WINDOWS])
def test_a_packed_block_gives_the_logits_of_its_documents_one_by_one(
    name: str, changes: dict[str, Any]
) -> None:
    model = tiny_model(name, **changes)
    pieces = token_ids([9, 1, 12, 7], seed=3)
    batch = PackedBatch((_block(pieces, 3), _block(pieces[::-1], 3)), model.config)
    with torch.no_grad():
        packed = model(**batch.inputs(), use_cache=False).logits
        assert packed.isfinite().all()
        for row, order in enumerate((pieces, pieces[::-1])):
            start = 0
            for piece in order:
                alone = model(input_ids=torch.tensor([piece])).logits[0]
                torch.testing.assert_close(
                    packed[row, start : start + len(piece)], alone, atol=2e-4, rtol=2e-4
                )
                start += len(piece)


def test_without_the_mask_documents_would_see_each_other() -> None:
    model = tiny_model("llama-gqa-tied")
    batch = PackedBatch((_block(token_ids([9, 12], seed=3), 0),), model.config)
    with torch.no_grad():
        packed = model(**batch.inputs()).logits
        plain = model(input_ids=batch.input_ids).logits
    assert torch.allclose(packed[0, :9], plain[0, :9], atol=1e-4)
    assert not torch.allclose(packed[0, 9:], plain[0, 9:], atol=0.1)


@pytest.mark.parametrize("name", ["llama-gqa-tied", "gemma2", "gemma3", "mistral-window"])
def test_no_gradient_crosses_documents(name: str) -> None:
    model = tiny_model(name).requires_grad_(False)
    batch = PackedBatch((_block(token_ids([8, 11, 5], seed=1), 4),), model.config)
    inputs = batch.inputs()
    embedded = model.get_input_embeddings()(inputs.pop("input_ids")).requires_grad_()
    logits = model(inputs_embeds=embedded, **inputs, use_cache=False).logits
    for document in (0, 1, 2):
        mine = batch.segment_ids[0] == document
        (gradient,) = torch.autograd.grad(logits[0, mine].square().sum(), embedded, retain_graph=True)
        reached = gradient[0].abs().sum(-1) > 0
        assert (reached == mine).all()


def test_the_loss_of_a_block_is_the_loss_of_its_documents() -> None:
    model = tiny_model("llama-gqa-tied")
    pieces = token_ids([9, 12, 7], seed=2)
    batch = PackedBatch((_block(pieces, 4),), model.config)
    with torch.no_grad():
        packed = model(**batch.inputs(), labels=batch.labels).loss * n_predicted(batch)
        alone = [
            model(input_ids=ids, labels=ids).loss * (ids.shape[1] - 1)
            for p in pieces
            for ids in (torch.tensor([p]),)
        ]
    torch.testing.assert_close(packed, torch.stack(alone).sum())


def test_the_mask_by_hand() -> None:
    segments = torch.tensor([[0, 0, 0, 4, PADDING, PADDING]])
    expected = ["100000", "110000", "111000", "000100", "000010", "000011"]
    assert document_mask(segments)[0, 0].int().tolist() == [[int(c) for c in row] for row in expected]
    windowed = document_mask(segments, window=2)[0, 0]
    assert windowed[2].int().tolist() == [0, 1, 1, 0, 0, 0]
    mask = document_mask(_block([[5, 6]], 1).segment_ids[None])
    assert mask.shape == (1, 1, 3, 3) and mask.dtype == torch.bool


def test_masks_of_models_that_cannot_take_them_are_refused() -> None:
    config, segments = tiny_model("llama-gqa-tied").config, torch.zeros(1, 4, dtype=torch.int64)
    config._attn_implementation = "flash_attention_2"
    with pytest.raises(ModelError, match="sdpa or eager"):
        model_masks(config, segments)
    config.model_type = "gpt2"
    with pytest.raises(UnsupportedArchitecture, match="gpt2"):
        model_masks(config, segments)
