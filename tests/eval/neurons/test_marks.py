"""Tokens marked in their text: whole characters, wherever tokens and windows cut them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from polyneuron.eval.neurons.marks import MarkedText, marked, token_text

MERGES = (" t", "th", "\xe9", "漢", "ก", "👍", "กข")
"""Some of whose bytes are one token, as byte-level tokenizers learn them."""


def byte_level() -> Any:
    """A byte-level tokenizer with a few tokens of several bytes, some of which are parts of characters."""
    spell = {byte: symbol for byte, symbol in zip(range(256), map(_symbol, range(256)), strict=True)}
    vocabulary = {"<s>": 0} | {symbol: 1 + byte for byte, symbol in spell.items()}
    merges: list[tuple[str, str]] = []
    for text in MERGES:
        symbols = [spell[byte] for byte in text.encode()]
        for n in range(1, len(symbols)):
            pair = ("".join(symbols[:n]), symbols[n])
            if pair not in merges:
                merges.append(pair)
                vocabulary["".join(pair)] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")


def _symbol(byte: int) -> str:
    """How byte-level tokenizers spell a byte (GPT-2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    if byte in printable:
        return chr(byte)
    return chr(256 + [other for other in range(256) if other not in printable].index(byte))


TOKENIZER = byte_level()
BYTES_OF = {_symbol(byte): byte for byte in range(256)}


def bytes_of(token: int) -> bytes:
    return bytes(BYTES_OF[symbol] for symbol in TOKENIZER.convert_ids_to_tokens(token))


def of_characters(text: bytes, start: int, end: int) -> MarkedText:
    """By a walk over the characters of a text: those that have a byte from `start` to `end`. What its ends cut off: each byte
    without a beginning is a U+FFFD, and a character without its end is one."""
    pieces: list[tuple[int, str]] = []
    at = 0
    while at < len(text):
        first = text[at]
        size = 1 if first < 0x80 else 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
        pieces.append((at, text[at : at + size].decode("utf-8", "replace")))
        at += size
    ends = [*(at for at, _ in pieces[1:]), len(text)]
    before = "".join(piece for (_, piece), its_end in zip(pieces, ends, strict=True) if its_end <= start)
    after = "".join(piece for at, piece in pieces if at >= end)
    inside = "".join(
        piece for (at, piece), its_end in zip(pieces, ends, strict=True) if at < end and its_end > start
    )
    return MarkedText(before, inside, after)


@settings(max_examples=300)
@given(st.text("ab t\né漢กข👍🧑\ufffd", min_size=1, max_size=12), st.data())
def test_a_mark_has_every_character_that_the_token_is_part_of(text: str, data: st.DataObject) -> None:
    """Of windows that begin and end at any token, so also inside of characters."""
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert b"".join(map(bytes_of, ids)) == text.encode()
    start = data.draw(st.integers(0, len(ids) - 1))
    window = ids[start : data.draw(st.integers(start + 1, len(ids)))]
    at = data.draw(st.integers(0, len(window) - 1))
    lengths = [len(bytes_of(token)) for token in window]
    whole = b"".join(map(bytes_of, window))
    wanted = of_characters(whole, sum(lengths[:at]), sum(lengths[: at + 1]))
    assert marked(TOKENIZER, window, at) == wanted


def test_tokens_that_are_parts_of_characters_mark_the_whole_character() -> None:
    """🧑 is three tokens: its first two bytes are those of 👍."""
    ids = TOKENIZER("a🧑b", add_special_tokens=False)["input_ids"]
    assert len(ids) == 5
    assert [marked(TOKENIZER, ids, at) for at in (1, 2, 3)] == [MarkedText("a", "🧑", "b")] * 3
    assert marked(TOKENIZER, ids, 0) == MarkedText("", "a", "🧑b")
    assert marked(TOKENIZER, ids, 4) == MarkedText("a🧑", "b", "")


@pytest.mark.parametrize(("text", "shown"), [(" t", " t"), ("ก", "ก"), ("🧑", "<0xF0><0x9F>")])
def test_a_token_by_itself_is_text_or_bytes(text: str, shown: str) -> None:
    (first, *_) = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert token_text(TOKENIZER, first) == shown


def test_bytes_that_a_vocabulary_of_words_falls_back_to_mark_the_whole_character() -> None:
    """As in Llama 2 and Gemma: words begin with ▁, and bytes that make no character are U+FFFD each."""
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)} | {"▁a": 256, "b": 257, "<unk>": 258}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token="<unk>"))
    replaced = decoders.Replace("▁", " ")
    tokenizer.decoder = decoders.Sequence([replaced, decoders.ByteFallback(), decoders.Fuse()])
    words = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    thai = list("ก".encode())
    ids = [256, *thai, 257]
    assert [marked(words, ids, at) for at in (1, 2, 3)] == [MarkedText(" a", "ก", "b")] * 3
    assert marked(words, ids, 0) == MarkedText("", " a", "กb")
    assert marked(words, ids[2:], 2) == MarkedText("��", "b", "")
    assert marked(words, ids[:3], 2) == MarkedText(" a�", "�", "")
    assert [token_text(words, token) for token in (256, thai[0])] == [" a", "<0xE0>"]


def test_special_tokens_are_seen() -> None:
    ids = [0, *TOKENIZER("ab", add_special_tokens=False)["input_ids"]]
    assert marked(TOKENIZER, ids, 0) == MarkedText("", "<s>", "ab")
    assert marked(TOKENIZER, ids, 2) == MarkedText("<s>a", "b", "")
