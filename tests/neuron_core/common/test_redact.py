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
    monkeypatch.setenv("POLYNEURON_WEBHOOK_URL", "https://chat.example/services/T0/B0")
    assert redacted("no answer from https://chat.example/services/T0/B0") == "no answer from ***"


@given(
    st.text(st.characters(exclude_characters="/?#@'\"", exclude_categories=["Z", "C"]), min_size=9), st.text()
)
def test_no_password_survives(password: str, around: str) -> None:
    assert password not in redacted(f"{around} https://user:{password}@host/ {around}").replace(around, "")


SHAPES = {
    "hub": r"hf_[A-Za-z0-9]{34}",
    "github": r"gh[pousr]_[A-Za-z0-9]{36}",
    "github, fine": r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}",
    "gitlab": r"glpat-[A-Za-z0-9_-]{19}[A-Za-z0-9]",
    "openai": r"sk-[A-Za-z0-9]{48}",
    "openai, project": r"sk-proj-[A-Za-z0-9]{20,80}",
    "anthropic": r"sk-ant-api03-[A-Za-z0-9_-]{40}[A-Za-z0-9]",
    "amazon": r"A[KS]IA[A-Z0-9]{16}".replace("[KS]IA", "(KI|SI)A"),
    "google": r"AIza[A-Za-z0-9_-]{34}[A-Za-z0-9]",
    "slack": r"xoxb-[0-9]{11}-[A-Za-z0-9]{24}",
    "web": r"eyJ[A-Za-z0-9]{20}\.eyJ[A-Za-z0-9]{20}\.[A-Za-z0-9]{20}",
}
"""Tokens that are known by their shape, wherever they stand."""

AROUND = [
    "{}", "see {} there", "'{}'", '"{}"', "({})", "[{}, 3]", "key={}", "x={}&y=2", "https://host/{}",
    "https://host/a#{}", "401 for {}.",
    "a,{},b", "<{}>", "{}\n", "Token: {}", "--key {}", "{{'a': '{}'}}", 'b"{}"', "é{}é",
]  # fmt: skip

NAMED = [
    'password={}', 'passwd={}', 'PASSWORD: {}', 'pwd={};', 'token={}', 'access_token={}', 'api_key={}', 'api-key: {}',
    'APIKEY={}',
    'client_secret={}', 'WANDB_API_KEY={}', 'export DB_PASSWORD={}', "export X_TOKEN='{}'", '"token": "{}"', "'password': '{}'",
    '{{"a": 1, "access_token":"{}"}}', '\\"token\\": \\"{}\\"', 'https://host/a#access_token={}&x=1',
    'https://host/a?x=1&token={}',
    'https://host/a;password={}', 'https://me:{}@host/x', 'https://{}@host', 's3://key:{}@bucket/x',
    'Authorization: Bearer {}0123456789',
    'Authorization: Basic {}', 'authorization: token {}', '--token {}', '--password={}', '--hf-token {} --x',
    'private_key = "{}"',
    'a:\n  password: {}\n  b: 2', '- token: {}', 'credentials: {}', "Config(token='{}', n=3)",
    'aws_secret_access_key = {}', 'accessToken={}',
    'Server=x;Password={};Trusted=1', 'AccountKey={}', 'secret => {}', 'passphrase: {}', 'x-api-key: {}', 'PRIVATE-TOKEN: {}',
]  # fmt: skip
"""What a name gives away, whatever its shape."""


@given(
    st.sampled_from(sorted(SHAPES)).flatmap(lambda name: st.from_regex(SHAPES[name], fullmatch=True)),
    st.sampled_from(AROUND),
)
def test_tokens_of_known_shapes_are_hidden_wherever_they_stand(token: str, around: str) -> None:
    before, _, after = around.format("\0").partition("\0")
    hidden = redacted(around.format(token))
    assert token not in hidden and token[8:] not in hidden
    assert hidden.startswith(before.strip("'\"")[:3]) and redacted(hidden) == hidden
    assert after.strip() in hidden


@given(
    st.text("abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMN0123456789+_.~$!", min_size=8, max_size=60).filter(
        lambda text: text[0].isalnum() and text[-1].isalnum() and not text.isdigit()
    ),
    st.sampled_from(NAMED),
    st.sampled_from(["", "failed: ", "GET ", "line 1\n", "{'x': 3} "]),
    st.sampled_from(["", " after", "\nnext line", " (401)"]),
)
def test_what_is_assigned_to_a_secret_name_is_hidden(
    secret: str, named: str, before: str, after: str
) -> None:
    text = before + named.format(secret) + after
    hidden = redacted(text)
    assert secret not in hidden, hidden
    assert redacted(hidden) == hidden
    assert hidden.startswith(before)


@given(
    st.sampled_from(["token", "api_key", "password", "HF_TOKEN", "client-secret"]),
    st.text(min_size=8, max_size=40),
)
def test_values_of_secret_keys_in_documents_are_hidden_whole(key: str, secret: str) -> None:
    secret = "q7" + secret
    document = {"servers": [{key: secret, "name": "a"}]}
    assert redacted_within(document) == {"servers": [{key: "***", "name": "a"}]}


@pytest.mark.parametrize(
    "text",
    [
        "task-0123456789abcdefgh", "risk-averse-strategies-of-2026", "desk-1234567890123456", "max_tokens: 48",
        "n_tokens=12", "tokens: 3, 4",
        "max_gen_toks=256", "tokenizer: tokenizer.json", "eos_token: </s>", "'bos_token': '<|begin_of_text|>'",
        "pad_token_id=0",
        "unexpected token: something", "next token: whatever", "the author: somebody", "authors=Someone",
        "keyboard: german", "key=value",
        "scikit-learn-1.5.2-classifier", "sk-SK", "the secret of success", "a password is needed", "passwords do not match",
        "trust_remote_code=False", "min_tokens 9 is above max_tokens 4", "special tokens: many", "password: None", "token=None",
        "corpus.text_column=token", "basic understanding of things", "bearer certificates matter", "hf_hub",
        "ghp_short", "AKIA",
        "models.0.path=Qwen/Qwen3-0.6B-Base", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "sha256:0123456789abcdef",
        "stores/tuned-shared-sw/control-shared-0", "n_tokens_detection, n_tokens_heldout", "--dry-run", "--config token.yaml",
        "RAY_AUTH_MODE=token", "detectors: [lape, act_prob_top]", "https://host/page#section-2",
        "https://host/?page=2#top", "a#b=c",
    ],
)  # fmt: skip
def test_ordinary_words_are_no_secrets(text: str) -> None:
    assert redacted(text) == text


def test_variables_with_secret_names_are_hidden_in_every_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "plain+text/secret")
    monkeypatch.setenv("MY_TOKEN_PATH", "/home/me/token-file")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "parallelism")
    said = "plain+text/secret and plain%2Btext%2Fsecret in /home/me/token-file of parallelism"
    assert redacted(said) == "*** and *** in /home/me/token-file of parallelism"


def test_errors_carry_no_credentials() -> None:
    for kind in (PolyneuronError, StoreError, UnsupportedArchitecture):
        assert SECRET not in kind(f"no https://me:{SECRET}@host").message
    with pytest.raises(CorpusError) as refused:
        list(iter_texts(source_of(f"http://me:{SECRET}@127.0.0.1:9/en.txt?token={SECRET}"), "en"))
    assert SECRET not in refused.value.message and "127.0.0.1:9" in refused.value.message
    assert SECRET not in source_of(f"http://me:{SECRET}@127.0.0.1:9/en.txt").describe()


def test_long_texts_take_no_long_time() -> None:
    began = time.process_time()
    for text in ("a" * 300_000, "a://" * 100_000, "?" * 300_000, "?token" * 50_000, "x@" * 100_000):
        redacted(text)
    assert time.process_time() - began < 10
