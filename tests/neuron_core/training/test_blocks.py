"""Token blocks: nothing is lost, documents do not see each other, the cache is whole, the order survives a stop."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from neuron_core.corpora.sources import CorpusSource
from neuron_core.errors import CorpusError, ModelError, StoreError, UnsupportedArchitecture
from neuron_core.training import blocks as blocks_module
from neuron_core.training.block_sampler import BlockSampler
from neuron_core.training.blocks import (
    JoinedBlocks,
    PreparedBlocks,
    TokenBlocks,
    cut,
    open_blocks,
    pack,
    prepare_blocks,
    tokenizer_fingerprint,
)
from neuron_core.training.documents import DocumentCounts, documents, mixture_of
from neuron_core.training.packed_batch import (
    NO_LABEL,
    PADDING,
    Block,
    PackedBatch,
    document_mask,
    model_masks,
)
from tests.tiny_models import TINY, save_tiny_model, tiny_model, token_ids

BOS, EOS, PAD = 1, 2, 0


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def tokenizer(model_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(model_folder)


@pytest.fixture
def corpus(tmp_path: Path) -> CorpusSource:
    chance = random.Random(0)
    texts = [f"hati {i} " + "maneno " * chance.randrange(12) for i in range(120)]
    path = tmp_path / "sw.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return CorpusSource("files", path=str(path))


def _prepared(tmp_path: Path, corpus: CorpusSource, tokenizer: Any, **changes: Any) -> PreparedBlocks:
    settings: dict[str, Any] = (
        dict(max_tokens=32, n_documents="all", validation_share=0.1, add_bos=True) | changes
    )
    return prepare_blocks(tmp_path / "cache", [(corpus, 1.0)], "sw", tokenizer, **settings)


def _pieces(blocks: TokenBlocks | JoinedBlocks) -> dict[int, list[list[int]]]:
    """Token ids of the pieces of every document, in the order of the blocks."""
    found: dict[int, list[list[int]]] = {}
    for i in range(len(blocks)):
        block = blocks[i]
        for document in block.segment_ids.unique_consecutive().tolist():
            if document != PADDING:
                ids = block.input_ids[block.segment_ids == document].tolist()
                found.setdefault(document, []).append(ids)
    return found


def _block(pieces: list[list[int]], n_padding: int) -> Block:
    ids = [token for piece in pieces for token in piece]
    labels = [label for piece in pieces for label in (NO_LABEL, *piece[1:])]
    return Block(
        "en",
        torch.tensor(ids + [PAD] * n_padding),
        torch.tensor([i for piece in pieces for i in range(len(piece))] + list(range(n_padding))),
        torch.tensor([n for n, piece in enumerate(pieces) for _ in piece] + [PADDING] * n_padding),
        torch.tensor(labels + [NO_LABEL] * n_padding),
    )


@pytest.mark.parametrize("add_bos", [True, False, None])
def test_no_token_is_lost_and_long_documents_are_cut(
    tmp_path: Path, corpus: CorpusSource, tokenizer: Any, add_bos: bool | None
) -> None:
    prepared = _prepared(tmp_path, corpus, tokenizer, add_bos=add_bos)
    training, validation = _pieces(prepared.training), _pieces(prepared.validation)
    texts = list(documents([(corpus, 1.0)], "sw", "all"))
    assert sorted([*training, *validation]) == list(range(120)) and len(validation) == 12
    n_bos = int(bool(add_bos))
    for number, text in enumerate(texts):
        pieces = (training | validation)[number]
        assert all(piece[:n_bos] == [BOS] * n_bos and len(piece) <= 32 for piece in pieces)
        whole = sorted(pieces, key=len, reverse=True)  # only the last piece is shorter than a block
        assert [len(piece) for piece in whole[:-1]] == [32] * (len(whole) - 1)
        expected = [*tokenizer(text, add_special_tokens=False)["input_ids"], EOS]
        step = 32 - n_bos
        assert sorted(p[n_bos:] for p in pieces) == sorted(
            expected[i : i + step] for i in range(0, len(expected), step)
        )
    assert max(len(pieces) for pieces in training.values()) > 2
    summary = prepared.summary
    assert summary.n_tokens == sum(len(p) for pieces in training.values() for p in pieces)
    assert summary.n_validation_tokens == sum(len(p) for pieces in validation.values() for p in pieces)
    assert (summary.n_documents, summary.n_validation_documents, summary.n_read) == (120, 12, 120)


def test_blocks_are_full_and_labelled(tmp_path: Path, corpus: CorpusSource, tokenizer: Any) -> None:
    blocks = _prepared(tmp_path, corpus, tokenizer).training
    batch = PackedBatch(tuple(blocks[i] for i in range(len(blocks))), None)
    assert batch.input_ids.shape == (len(blocks), 32) and batch.input_ids.dtype == torch.int64
    padding = batch.segment_ids == PADDING
    assert (batch.input_ids[padding] == PAD).all() and (batch.labels[padding] == NO_LABEL).all()
    assert padding.float().mean() < 0.05
    first = batch.position_ids == 0
    assert (batch.labels[first] == NO_LABEL).all()
    inside = ~first & ~padding
    assert (batch.labels[inside] == batch.input_ids[inside]).all() and batch.n_predicted == int(inside.sum())
    same = batch.segment_ids[:, 1:] == batch.segment_ids[:, :-1]
    assert (same == (batch.position_ids[:, 1:] == batch.position_ids[:, :-1] + 1)).all()
    with pytest.raises(IndexError, match="no block"):
        blocks[len(blocks)]


def test_special_tokens_in_a_text_are_text(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "sw.txt").write_text("moja </s> <s> mbili\ntatu nne tano\n")
    source = CorpusSource("files", path=str(tmp_path / "sw.txt"))
    pieces = _pieces(_prepared(tmp_path, source, tokenizer, validation_share=0.0).training)
    assert all(piece.count(EOS) == 1 and piece.count(BOS) == 1 for [piece] in pieces.values())
    assert tokenizer.decode(pieces[0][0][1:-1]) == "moja </s> <s> mbili"


def test_cut_and_pack_by_hand() -> None:
    assert cut([1, 5, 6, 7, 8, 9, 2], 4, n_bos=1) == [[1, 5, 6, 7], [1, 8, 9, 2]]
    assert cut([5, 6, 7, 8, 9], 4) == [[5, 6, 7, 8], [9]] and cut([5, 6], 2) == [[5, 6]]
    assert pack([6, 5, 4, 10, 3, 2], 10) == [[0, 2], [1, 4, 5], [3]] and pack([], 4) == []


def test_packing_keeps_every_piece_once_and_never_overfills() -> None:
    lengths = np.random.default_rng(0).integers(1, 101, 3000).tolist()
    packed = pack(lengths, 100)
    assert sorted(piece for block in packed for piece in block) == list(range(3000))
    filled = [sum(lengths[piece] for piece in block) for block in packed]
    assert max(filled) <= 100 and sum(filled) / (100 * len(filled)) > 0.95


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
        packed = model(**batch.inputs(), labels=batch.labels).loss * batch.n_predicted
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
    mask = PackedBatch((_block([[5, 6]], 1),), None).attention_mask
    assert mask.shape == (1, 1, 3, 3) and mask.dtype == torch.bool


def test_masks_of_models_that_cannot_take_them_are_refused() -> None:
    config, segments = tiny_model("llama-gqa-tied").config, torch.zeros(1, 4, dtype=torch.int64)
    config._attn_implementation = "flash_attention_2"
    with pytest.raises(ModelError, match="sdpa or eager"):
        model_masks(config, segments)
    config.model_type = "gpt2"
    with pytest.raises(UnsupportedArchitecture, match="gpt2"):
        model_masks(config, segments)


def test_the_cache_is_used_again_and_named_by_what_decides_it(
    tmp_path: Path, corpus: CorpusSource, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[float, float]] = []
    first = _prepared(tmp_path, corpus, tokenizer, report=lambda *what: told.append(what))
    assert told == [(120, 120)]
    keys = {
        _prepared(tmp_path, corpus, tokenizer, **change).key
        for change in (
            dict(seed=1),
            dict(max_tokens=40),
            dict(add_bos=None),
            dict(n_documents=100),
            dict(validation_share=0.2),
            dict(exclude=["hati 3 "]),
        )
    }
    assert len(keys) == 6 and first.key not in keys
    with monkeypatch.context() as patched:
        patched.setattr(blocks_module, "documents", lambda *_: pytest.fail("tokenised again"))
        patched.setattr(blocks_module, "_Pieces", None)
        # documents() is called only when there is no cache
        again = _prepared(tmp_path, corpus, tokenizer)
    assert again.key == first.key and again.summary == first.summary
    assert all(
        torch.equal(again.training[i].input_ids, first.training[i].input_ids)
        for i in range(len(first.training))
    )
    with open(str(corpus.path), "a") as file:
        file.write('{"text": "hati mpya"}\n')
    changed = _prepared(tmp_path, corpus, tokenizer)
    assert changed.key != first.key and changed.summary.n_documents == 121
    files = {path.name for path in first.folder.iterdir()}
    assert {path.rpartition(".")[2] for path in files} == {"npy", "json"}
    assert isinstance(again.training._tokens, np.memmap)


def test_the_tokenizer_is_known_by_its_rules(model_folder: Path, tokenizer: Any) -> None:
    other = AutoTokenizer.from_pretrained(model_folder)
    before = tokenizer_fingerprint(other)
    other(["moja mbili tatu", "x"], padding=True, truncation=True, max_length=4)
    assert tokenizer_fingerprint(other) == before == tokenizer_fingerprint(tokenizer)
    other.add_tokens(["maneno"])
    assert tokenizer_fingerprint(other) != before


def test_a_cache_is_made_whole_or_not_at_all(
    tmp_path: Path, corpus: CorpusSource, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CorpusError, match="ran out"):
        _prepared(tmp_path, corpus, tokenizer, n_documents=121)

    def interrupted(_lengths: Any, _max_tokens: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(blocks_module, "pack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _prepared(tmp_path, corpus, tokenizer)
    assert list((tmp_path / "cache").iterdir()) == []
    made = _prepared(tmp_path, corpus, tokenizer)
    # Another process that began before is beaten to it, and takes what is there.
    blocks_module._write_whole(made.folder, lambda temporary: (temporary / "late").mkdir())
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [made.folder.name]
    assert open_blocks(made.folder).summary == made.summary


def test_a_damaged_cache_and_an_unwritable_one_are_named(
    tmp_path: Path, corpus: CorpusSource, tokenizer: Any
) -> None:
    made = _prepared(tmp_path, corpus, tokenizer)
    tokens = made.folder / "tokens.npy"
    tokens.write_bytes(tokens.read_bytes()[:-40])
    with pytest.raises(StoreError, match="Delete the folder"):
        _prepared(tmp_path, corpus, tokenizer)
    with pytest.raises(StoreError, match="cannot be read"):
        open_blocks(tmp_path / "nowhere")
    (tmp_path / "occupied").write_text("a file")
    with pytest.raises(StoreError, match="cannot be written"):
        prepare_blocks(tmp_path / "occupied", [(corpus, 1.0)], "sw", tokenizer, max_tokens=16, n_documents=9)


def test_validation_documents_are_seeded_exact_in_number_and_never_trained_on(
    tmp_path: Path, corpus: CorpusSource, tokenizer: Any
) -> None:
    chosen = []
    for seed in (0, 1):
        prepared = _prepared(tmp_path, corpus, tokenizer, seed=seed, validation_share=0.25)
        training, validation = set(_pieces(prepared.training)), set(_pieces(prepared.validation))
        assert len(validation) == 30 and not training & validation and len(training | validation) == 120
        chosen.append(validation)
    assert chosen[0] != chosen[1]
    assert len(_pieces(_prepared(tmp_path, corpus, tokenizer, validation_share=0.001).validation)) == 1
    assert len(_prepared(tmp_path, corpus, tokenizer, validation_share=0.0).validation) == 0
    with pytest.raises(CorpusError, match="none is left to train on"):
        _prepared(tmp_path, corpus, tokenizer, n_documents=1)


def test_excluded_and_dropped_documents_are_in_the_summary(
    tmp_path: Path, corpus: CorpusSource, tokenizer: Any
) -> None:
    counts = DocumentCounts()
    kept = list(documents([(corpus, 1.0)], "sw", "all", exclude=["hati 11 maneno"], counts=counts))
    summary = _prepared(tmp_path, corpus, tokenizer, exclude=["hati 11  maneno"]).summary
    assert summary.n_documents == len(kept) and summary.dropped == dict(counts.dropped) == {
        "holds a sentence of the study": 1
    }
    assert summary.sources == [corpus.path] and summary.revisions == [None] and summary.n_read == 120


def test_the_embedded_corpus_makes_blocks_in_several_languages(tmp_path: Path, tokenizer: Any) -> None:
    parts = [
        prepare_blocks(
            tmp_path,
            mixture_of("embedded"),
            language,
            tokenizer,
            max_tokens=128,
            n_documents="all",
            add_bos=True,
        ).training
        for language in ("en", "zh", "sw")
    ]
    joined = JoinedBlocks(parts)
    assert len(joined) == sum(map(len, parts)) and min(map(len, parts)) > 5
    place = 0
    for part in parts:
        for i in range(len(part)):
            assert joined[place].language == part.language
            assert torch.equal(joined[place].labels, part[i].labels)
            place += 1
    for wrong in (-1, place):
        with pytest.raises(IndexError, match="no block"):
            joined[wrong]
    with pytest.raises(ValueError, match="one length"):
        JoinedBlocks([])


def test_tokenizers_that_cannot_part_documents_are_refused(
    tmp_path: Path, corpus: CorpusSource, model_folder: Path
) -> None:
    other = AutoTokenizer.from_pretrained(model_folder)
    other.bos_token = None
    with pytest.raises(ModelError, match="no BOS"):
        _prepared(tmp_path, corpus, other)
    other.eos_token = None
    with pytest.raises(ModelError, match="no EOS"):
        _prepared(tmp_path, corpus, other, add_bos=False)
    with pytest.raises(ModelError, match="fast"):
        _prepared(tmp_path, corpus, object())
    with pytest.raises(ValueError, match="max_tokens"):
        _prepared(tmp_path, corpus, other, max_tokens=2)


def test_every_epoch_shows_every_block_once_in_its_own_order() -> None:
    sampler = BlockSampler(23, seed=4, epochs=3)
    assert sampler.n_steps(5) == 14
    seen = [index for step in range(14) for index in sampler.batch_indices(step, 5)]
    epochs = [seen[start : start + 23] for start in (0, 23, 46)]
    assert len(seen) == 69 and all(sorted(epoch) == list(range(23)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert [len(sampler.batch_indices(step, 5)) for step in (12, 13)] == [5, 4]
    assert BlockSampler(23, seed=5).batch_indices(0, 23) != epochs[0]


def test_a_resumed_run_sees_what_an_unbroken_one_does_at_any_world_size() -> None:
    unbroken = [BlockSampler(40, 7, epochs=2).batch_indices(step, 6) for step in range(14)]
    resumed = [BlockSampler(40, 7, epochs=2).batch_indices(step, 6) for step in range(9, 14)]
    assert unbroken[9:] == resumed
    # Three workers that take turns see together what one does.
    assert sorted(index for rank in range(3) for index in resumed[0][rank::3]) == sorted(unbroken[9])


def test_the_order_is_the_same_for_ever() -> None:
    # A change of this order makes running trainings see some blocks twice and others never.
    assert BlockSampler(8, seed=0, epochs=2).batch_indices(0, 16) == [
        1,
        7,
        0,
        4,
        3,
        2,
        6,
        5,
        6,
        1,
        2,
        7,
        0,
        4,
        3,
        5,
    ]


def test_the_order_mixes_well() -> None:
    order = np.array(BlockSampler(10_000, seed=3).batch_indices(0, 10_000))
    assert abs(np.corrcoef(order, np.arange(10_000))[0, 1]) < 0.04  # four standard errors of 1/sqrt(n)
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.04


def test_senseless_samplers_and_steps_are_refused() -> None:
    sampler = BlockSampler(4, 0)
    for wrong in (-1, 2):
        with pytest.raises(IndexError, match="no step"):
            sampler.batch_indices(wrong, 2)
    with pytest.raises(ValueError, match="at least one"):
        sampler.batch_indices(0, 0)
    for settings in ((0, 0, 1), (4, -1, 1), (4, 0, 0)):
        with pytest.raises(ValueError, match="needs blocks"):
            BlockSampler(*settings)


def test_a_pinned_source_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def pin(source: CorpusSource, language: str) -> CorpusSource:
        asked.append(language)
        return replace(source, revision="b" * 40)

    monkeypatch.setattr(blocks_module, "pin", pin)
    source = CorpusSource("hub", path="a/b", revision="a" * 40)
    assert blocks_module._pinned(source, "sw") is source and not asked
    assert blocks_module._pinned(replace(source, revision="main"), "sw").revision == "b" * 40 and asked == [
        "sw"
    ]
