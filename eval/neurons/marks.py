"""Tokens as text: one among the tokens around it, marked in whole characters, and one by itself."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

UNFINISHED = "\ufffd"
"""What a tokenizer decodes a part of a character to."""


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A text in three parts; `token` has every character that the token is a part of."""

    before: str
    token: str
    after: str


def marked(tokenizer: Any, ids: Sequence[int], at: int) -> MarkedText:
    """The text of `ids` with the characters of the token `ids[at]` apart. The ids are decoded as a whole, since a token may be
    part of a character, and so may be what a window begins and ends with: such parts are U+FFFD."""
    text = _decoded(tokenizer, ids)
    start = _shared(_decoded(tokenizer, ids[:at]), text)
    through = _decoded(tokenizer, ids[: at + 1])
    end = _shared(through, text)
    if end < len(through):  # the token ends inside of a character, which the text has whole
        end = min(end + 1, len(text))
    if start >= end and start > 0 and text[start - 1] == UNFINISHED:
        start -= 1  # the token goes on with a character that the text leaves unfinished
    end = max(start, end)
    return MarkedText(text[:start], text[start:end], text[end:])


def token_text(tokenizer: Any, token: int) -> str:
    """What a token is by itself; where it is part of a character, its bytes, as in `<0xE0><0xB8>`."""
    text = _decoded(tokenizer, [token])
    if UNFINISHED not in text and text:
        return text
    piece = str(tokenizer.convert_ids_to_tokens(token))
    bytes_of = _bytes_of_symbols()
    if not all(symbol in bytes_of for symbol in piece) or piece.startswith("<0x"):
        return piece  # which spells its byte so already, or is no text
    return "".join(f"<0x{bytes_of[symbol]:02X}>" for symbol in piece)


@functools.cache
def _bytes_of_symbols() -> dict[str, int]:
    """The byte that each character stands for in the vocabularies of byte-level tokenizers (Radford et al. 2019)."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {symbol: byte for byte, symbol in bytes_to_unicode().items()}


def _decoded(tokenizer: Any, ids: Sequence[int]) -> str:
    text: str = tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (mine, its) in pairs if mine != its), min(len(one), len(other)))
