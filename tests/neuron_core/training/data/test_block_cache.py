"""Token blocks: nothing is lost, long documents are cut, and the cache is whole or absent."""

import json
import pickle
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig

from polyneuron.neuron_core.common.errors import CorpusError, ModelError, StoreError
from polyneuron.neuron_core.common.files import whole_folder
from polyneuron.neuron_core.corpora.sources import CorpusSource
from polyneuron.neuron_core.training.data import block_cache
from polyneuron.neuron_core.training.data.block_cache import cut, pack, prepare_blocks
from polyneuron.neuron_core.training.data.blocks import PreparedBlocks, TokenBlocks
from polyneuron.neuron_core.training.data.documents import DocumentCounts, documents, mixture_of
from polyneuron.neuron_core.training.data.feed import Feed
from polyneuron.neuron_core.training.data.packed_batch import (
    NO_LABEL,
    PADDING,
    PackedBatch,
)
from polyneuron.neuron_core.training.data.token_files import tokenizer_fingerprint
from polyneuron.neuron_core.training.loop.stepper import n_predicted
from tests.tiny_models import save_tiny_model

BOS, EOS, PAD = 1, 2, 0
CONFIG = LlamaConfig()


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
    return CorpusSource(kind="files", path=str(path))


def _prepared(tmp_path: Path, corpus: CorpusSource, tokenizer: Any, **changes: Any) -> PreparedBlocks:
    settings: dict[str, Any] = (
        dict(max_tokens=32, n_documents="all", validation_share=0.1, add_bos=True) | changes
    )
    return prepare_blocks(tmp_path / "cache", [(corpus, 1.0)], "sw", tokenizer, **settings)


def _pieces(blocks: TokenBlocks) -> dict[int, list[list[int]]]:
    """Token ids of the pieces of every document, in the order of the blocks."""
    found: dict[int, list[list[int]]] = {}
    for i in range(len(blocks)):
        block = blocks[i]
        for document in block.segment_ids.unique_consecutive().tolist():
            if document != PADDING:
                ids = block.input_ids[block.segment_ids == document].tolist()
                found.setdefault(document, []).append(ids)
    return found


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
    assert summary["n_tokens"] == sum(len(p) for pieces in training.values() for p in pieces)
    assert summary["n_validation_tokens"] == sum(len(p) for pieces in validation.values() for p in pieces)
    assert (summary["n_documents"], summary["n_validation_documents"], summary["n_read"]) == (120, 12, 120)


def test_blocks_are_full_and_labelled(tmp_path: Path, corpus: CorpusSource, tokenizer: Any) -> None:
    blocks = _prepared(tmp_path, corpus, tokenizer).training
    batch = PackedBatch([blocks[i] for i in range(len(blocks))], CONFIG)
    assert batch.input_ids.shape == (len(blocks), 32) and batch.input_ids.dtype == torch.int64
    padding = batch.segment_ids == PADDING
    assert (batch.input_ids[padding] == PAD).all() and (batch.labels[padding] == NO_LABEL).all()
    assert padding.float().mean() < 0.05
    first = batch.position_ids == 0
    assert (batch.labels[first] == NO_LABEL).all()
    inside = ~first & ~padding
    assert (batch.labels[inside] == batch.input_ids[inside]).all() and n_predicted(batch) == int(inside.sum())
    same = batch.segment_ids[:, 1:] == batch.segment_ids[:, :-1]
    assert (same == (batch.position_ids[:, 1:] == batch.position_ids[:, :-1] + 1)).all()
    with pytest.raises(IndexError, match="no block"):
        blocks[len(blocks)]


def test_special_tokens_in_a_text_are_text(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "sw.txt").write_text("moja </s> <s> mbili\ntatu nne tano\n")
    source = CorpusSource(kind="files", path=str(tmp_path / "sw.txt"))
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
        patched.setattr(block_cache, "documents", lambda *_: pytest.fail("tokenised again"))
        patched.setattr(block_cache, "_Pieces", None)
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
    assert changed.key != first.key and changed.summary["n_documents"] == 121
    files = {path.name for path in first.folder.iterdir()}
    assert {path.rpartition(".")[2] for path in files} == {"npy", "json"}
    assert isinstance(again.arrays["tokens"], np.memmap)


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
        patched.setattr(block_cache, "pack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _prepared(tmp_path, corpus, tokenizer)
    assert list((tmp_path / "cache").iterdir()) == []
    made = _prepared(tmp_path, corpus, tokenizer)
    # Another process that began before is beaten to it, and takes what is there.
    with whole_folder(made.folder) as temporary:
        (temporary / "late").touch()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [made.folder.name]
    assert PreparedBlocks(made.folder).summary == made.summary


def test_a_damaged_cache_and_an_unwritable_one_are_named(
    tmp_path: Path, corpus: CorpusSource, tokenizer: Any
) -> None:
    made = _prepared(tmp_path, corpus, tokenizer)
    tokens = made.folder / "tokens.npy"
    tokens.write_bytes(tokens.read_bytes()[:-40])
    with pytest.raises(StoreError, match="Delete the folder"):
        _prepared(tmp_path, corpus, tokenizer)
    with pytest.raises(StoreError, match="cannot be read"):
        PreparedBlocks(tmp_path / "nowhere")
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
    assert summary["n_documents"] == len(kept) and summary["dropped"] == dict(counts.dropped) == {
        "holds a sentence of the study": 1
    }
    assert summary["sources"] == [corpus.path] and summary["revisions"] == [None] and summary["n_read"] == 120


def test_a_feed_joins_the_blocks_of_several_languages(tmp_path: Path, tokenizer: Any) -> None:
    parts = [
        prepare_blocks(
            tmp_path,
            mixture_of("embedded"),
            language,
            tokenizer,
            max_tokens=128,
            n_documents="all",
            add_bos=True,
        )
        for language in ("en", "zh", "sw")
    ]
    feed = Feed(
        folders=tuple(str(part.folder) for part in parts),
        config=CONFIG,
        dtype="float32",
        global_batch=3,
        seed=0,
    )
    feed = pickle.loads(pickle.dumps(feed))
    trained = [part.training[i] for part in parts for i in range(len(part.training))]
    assert len(feed.blocks) == len(trained) and min(len(part.training) for part in parts) > 5
    for place, block in enumerate(trained):
        assert all(torch.equal(*pair) for pair in zip(feed.blocks[place], block, strict=True))
    of_step = feed.blocks_of_step(1)
    assert len(of_step) == 3
    assert torch.equal(feed.batch(of_step).labels, torch.stack([trained[i].labels for i in of_step]))


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


def test_a_pinned_source_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def pin(source: CorpusSource, language: str) -> CorpusSource:
        asked.append(language)
        return replace(source, revision="b" * 40)

    monkeypatch.setattr(block_cache, "pin", pin)
    source = CorpusSource(kind="hub", path="a/b", revision="a" * 40)
    assert block_cache._pinned(source, "sw") is source and not asked
    assert block_cache._pinned(replace(source, revision="main"), "sw").revision == "b" * 40 and asked == [
        "sw"
    ]


def test_one_byte_anywhere_in_a_large_corpus_makes_another_cache(tmp_path: Path) -> None:
    """The file keeps its size; places between evenly spaced blocks of it count too."""
    file, rng = tmp_path / "en.txt", random.Random(0)
    content = bytearray(b"a few words of text\n" * 1_000_000)
    digests = set()
    for _ in range(6):
        file.write_bytes(content)
        digests.add(block_cache._described(CorpusSource(kind="files", path=str(file)), "en")[1])
        content[rng.randrange(len(content))] ^= 1
    assert len(digests) == 6
