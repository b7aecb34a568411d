"""Credentials leave a text; everything else stays."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyneuron.neuron_core.common.errors import (
    CorpusError,
    PolyneuronError,
    StoreError,
    UnsupportedArchitecture,
)
from polyneuron.neuron_core.common.redact import redacted, redacted_within
from polyneuron.neuron_core.corpora.presets import source_of
from polyneuron.neuron_core.corpora.sources import iter_texts

SECRET = "hunter2Secret"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"https://me:{SECRET}@host/a.txt", "https://***@host/a.txt"),
        (f"s3://AKIA:{SECRET}@bucket/x and ftp://u@h/", "s3://***@bucket/x and ftp://***@h/"),
        (f"simplecache::https://me:a@{SECRET}@host/x", "simplecache::https://***@host/x"),
        (f"https://host/a?token={SECRET}&page=2", "https://host/a?token=***&page=2"),
        (f"https://host/a?v=1&X-Amz-Signature={SECRET}", "https://host/a?v=1&X-Amz-Signature=***"),
        (f"az://c/a?sv=1&sig={SECRET}#top", "az://c/a?sv=1&sig=***#top"),
        (f'{{"store": "https://h/?api_key={SECRET}"}}', '{"store": "https://h/?api_key=***"}'),
        (f"Authorization: Bearer {SECRET}0123456789", "Authorization: ***"),
        ("hf_abcdefghijklmnopqrstuvwxyz012345", "***"),
    ],
)
def test_credentials_are_hidden(text: str, expected: str) -> None:
    assert redacted(text) == expected
    assert redacted(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "https://host:8265/a@b?page=2", "corpus.n_detection=3", "tokens: 3, me@example.org", "path/to@v1/token=x",
        "hf://datasets/owner/name@main/data.parquet", "neurons q, k, v", "bearer of news", "?tok=1&keyboard", "",
    ],
)  # fmt: skip
def test_other_text_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize("secret", [SECRET, f"{SECRET}\\tail", f"hünter{SECRET}", f"{SECRET}\\n"])
def test_credentials_inside_documents_are_hidden_whole(secret: str) -> None:
    document = {"a": [f'no "https://h/?token={secret}" now', 3, None], "b": f"https://me:{secret}@host/"}
    assert redacted_within(document) == {
        "a": ['no "https://h/?token=***" now', 3, None],
        "b": "https://***@host/",
    }


def test_the_environments_tokens_are_hidden_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert redacted(f"401 for {SECRET}") == "401 for ***"
    monkeypatch.setenv("HF_TOKEN", "the")
    assert redacted("the end") == "the end"


@given(
    st.text(st.characters(exclude_characters="/?#@'\"", exclude_categories=["Z", "C"]), min_size=9), st.text()
)
def test_no_password_survives(password: str, around: str) -> None:
    assert password not in redacted(f"{around} https://user:{password}@host/ {around}").replace(around, "")


def test_errors_carry_no_credentials() -> None:
    for kind in (PolyneuronError, StoreError, UnsupportedArchitecture):
        assert SECRET not in kind(f"no https://me:{SECRET}@host").message
    with pytest.raises(CorpusError) as refused:
        list(iter_texts(source_of(f"http://me:{SECRET}@127.0.0.1:9/en.txt?token={SECRET}"), "en"))
    assert SECRET not in refused.value.message and "127.0.0.1:9" in refused.value.message
    assert SECRET not in source_of(f"http://me:{SECRET}@127.0.0.1:9/en.txt").describe()


def test_long_texts_take_no_long_time() -> None:
    began = time.monotonic()
    for text in ("a" * 300_000, "a://" * 100_000, "?" * 300_000, "?token" * 50_000, "x@" * 100_000):
        redacted(text)
    assert time.monotonic() - began < 10
