"""The card is read as it was written, whatever names say, and nothing else is taken for one."""

import re

import pytest

from polyneuron.neuron_core.common.errors import SharingError
from polyneuron.pipelines.sharing.card import Card, read, written

FILE = {"sha256": "0" * 64, "holds": "3 neurons: shared"}
GOOD = {
    "model": "tiny",
    "fingerprint": "0123456789abcdef",
    "selection": "scaled_sigma-1",
    "rule": {"rule": "scaled_sigma", "sigma": 2.5},
    "corpora": {"sw": "ab" * 8},
    "code": "polyneuron 0.1.0",
    "files": {"sets/shared.parquet": FILE},
}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"source": "org/model", "revision": "a" * 40},
        {"model": "a|b</td><script>alert(1)</script>'\"`[x](javascript:1): - # &amp; {{ 7*7 }} ü"},
        {"rule": {"rule": "x", "nested": {"a": [1, None, True, "2026-01-01", "0x10", "1:30"]}}},
    ],
)
def test_a_card_is_read_as_it_was_written(changed: dict[str, object]) -> None:
    card = Card.model_validate(GOOD | changed)
    page = written(card, "lab/x")
    assert read(page, "lab/x") == card
    body = page.partition("\n---\n")[2]
    assert not re.search(r"(?<!\\)(<script|\](?=\(javascript))", body) and "49" not in body


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("", "no card"),
        ("# Hello", "no card"),
        ("---\nlicense: mit\n---\n", "no card"),
        ("---\n[1, 2]\n---\n", "no card"),
        ("---\npolyneuron: 3\n---\n", "cannot be used"),
        ("---\npolyneuron: {version: 2}\n---\n", "version"),
        ("---\npolyneuron: !!python/object/apply:os.system [ls]\n---\n", "card of lab/x"),
        ("---\npolyneuron: {a: 1, a: 2}\n---\n", "card of lab/x"),
        ("---\n" + "a: " + "[" * 5000 + "\n---\n", "card of lab/x"),
        (written(Card.model_validate(GOOD), "lab/x").replace("0" * 64, "0" * 63), "sha256"),
        (
            written(Card.model_validate(GOOD), "lab/x").replace("0123456789abcdef", "g123456789abcdef"),
            "fingerprint",
        ),
    ],
)
def test_what_is_no_card_is_refused(page: str, words: str) -> None:
    with pytest.raises(SharingError, match=words):
        read(page, "lab/x")
