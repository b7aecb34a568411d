"""Windows: equal in length and number, made of every language's own tokens in their order, and spread over all of its text."""

import random
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

import polyneuron as pn
from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.passes.batches import Sentence, as_sentences
from polyneuron.neuron_core.passes.lengths import UnequalReadingWarning
from tests.tiny_models import save_tiny_model, tiny_model

_LENGTHS = st.lists(st.integers(0, 30), min_size=1, max_size=12)


@given(
    lengths=st.fixed_dictionaries({"en": _LENGTHS, "sw": _LENGTHS, "th": _LENGTHS}),
    n_tokens=st.integers(3, 20),
    n_windows=st.none() | st.integers(1, 6),
    bos=st.booleans(),
)
def test_windows_are_alike_and_hold_the_text_in_order(
    lengths: dict[str, list[int]], n_tokens: int, n_windows: int | None, bos: bool
) -> None:
    token = iter(range(1, 10_000))
    head = (0,) * bos
    corpora = {
        language: [
            Sentence(language, i, (*head, *(next(token) for _ in range(n))), int(bos))
            for i, n in enumerate(own)
        ]
        for language, own in lengths.items()
    }
    text = {language: [t for s in own for t in s.token_ids[bos:]] for language, own in corpora.items()}
    room = n_tokens - bos
    available = {language: len(tokens) // room for language, tokens in text.items()}
    fewest = min(available.values())
    if not fewest:
        named = [language for language, n in available.items() if n == 0]
        with pytest.raises(CorpusError, match="|".join(named)):
            pn.equal_windows(None, corpora, n_tokens, n_windows)
        return
    windows = pn.equal_windows(None, corpora, n_tokens, n_windows)
    expected = fewest if n_windows is None else min(n_windows, fewest)
    for language, own in windows.items():
        assert [w.index for w in own] == list(range(expected))
        assert {(len(w.token_ids), w.n_unscored, w.language) for w in own} == {(n_tokens, int(bos), language)}
        starts = [text[language].index(w.token_ids[bos]) for w in own]
        for window, start in zip(own, starts, strict=True):
            assert window.token_ids == (*head, *text[language][start : start + room])
        assert starts[0] == 0 and all(start % room == 0 for start in starts)
        steps = {(b - a) // room for a, b in pairwise(starts)}
        assert not steps or (max(steps) - min(steps) <= 1 and min(steps) >= 1)  # evenly spaced, none twice


def test_a_window_begins_as_a_sentence_does(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(save_tiny_model(tmp_path))
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing("<s> $0", None, [("<s>", 1)])
    texts = {"en": ["one two three", "four five six"], "sw": ["moja mbili tatu nne tano sita"]}
    for own in pn.equal_windows(tokenizer, texts, 6).values():
        assert all(w.token_ids[0] == tokenizer.bos_token_id and w.n_unscored == 1 for w in own)


@pytest.mark.parametrize(("n_tokens", "bos"), [(1, False), (0, False), (1, True)])
def test_a_window_has_room_for_two_tokens(n_tokens: int, bos: bool) -> None:
    with pytest.raises(ValueError, match="room"):
        pn.equal_windows(None, {"en": [Sentence("en", 0, (1, 2, 3), int(bos))]}, n_tokens)


def test_sentences_with_and_without_bos_are_refused() -> None:
    mixed = [Sentence("en", 0, (1, 2, 3), 1), Sentence("en", 1, (4, 5, 6), 0)]
    with pytest.raises(CorpusError, match="en"):
        pn.equal_windows(None, {"en": mixed}, 2)


def test_impacts_of_windows_need_no_warning_and_those_of_sentences_get_one() -> None:
    model, generator = tiny_model("llama-gqa-tied"), random.Random(0)

    def sentences(n: int, length: int) -> list[Any]:
        return [[generator.randrange(3, 97) for _ in range(length)] for _ in range(n)]

    corpora = {"en": sentences(9, 5), "th": sentences(9, 10)}
    with pytest.warns(UnequalReadingWarning, match=r"en 5\.0, th 10\.0") as caught:
        pn.measure_impacts(model, None, corpora, groups=("ffn",))
    assert caught[0].filename == __file__
    windows = pn.equal_windows(None, corpora, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = pn.measure_impacts(model, None, windows, groups=("ffn",))
    assert {(row["n_sentences"], row["n_tokens"]) for row in table.summaries.to_pylist()} == {(5, 40)}


def test_sentences_stay_what_they_are() -> None:
    read = [Sentence("en", 3, (1, 2, 3), 1)]
    assert as_sentences(None, "en", read) == read


@pytest.mark.parametrize("door", [pn.measure_impacts, pn.noise_floor, pn.measure_activations])
@pytest.mark.parametrize(("corpora", "named"), [({}, "no language"), ({"en": [[3, 4]], "sw": []}, "'sw'")])
def test_corpora_without_text_are_refused_at_every_door(
    door: Any, corpora: dict[str, Any], named: str
) -> None:
    with pytest.raises(CorpusError, match=named):
        door(tiny_model("llama-gqa-tied"), None, corpora)


@pytest.mark.parametrize("n_windows", [0, -1])
def test_no_windows_are_not_too_few_tokens(n_windows: int) -> None:
    with pytest.raises(ValueError, match=f"{n_windows} windows"):
        pn.equal_windows(None, {"en": [[3, 4, 5, 6]]}, 2, n_windows)


def test_the_noise_floor_is_as_careful_as_detection() -> None:
    """A model whose weights ask for gradients, sentences of unequal length, and a group that does not exist."""
    model = tiny_model("llama-gqa-tied").requires_grad_(True)
    corpora = {"en": [[3, 4, 5]] * 5, "sw": [[6, 7, 8, 9, 10]] * 5}
    with pytest.warns(UnequalReadingWarning) as caught:
        table = pn.noise_floor(model, None, corpora, groups=("ffn",), n_halvings=2, n_permutations=2)
    assert caught[0].filename == __file__ and table.num_rows == 7
    with pytest.raises(ValueError, match="nobody"):
        pn.noise_floor(model, None, corpora, groups=("nobody",))
