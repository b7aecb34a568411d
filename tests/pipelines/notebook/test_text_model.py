"""Text goes in and the likeliest text comes out, as transformers' own greedy search writes it."""

from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.neuron_core.model.load import load_model
from polyneuron.pipelines.notebook.text_model import TextModel
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module", params=["llama-gqa-tied", "gemma2", "mistral-window"])
def text_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    folder = save_tiny_model(tmp_path_factory.mktemp(request.param) / "tiny", request.param)
    return TextModel(*load_model(folder), adds_bos=True)


@pytest.mark.parametrize("prompt", ["Habari", "Où est l'été?"])
def test_the_answer_is_that_of_greedy_search(text_model: TextModel, prompt: str) -> None:
    tokenizer, model = text_model.tokenizer, text_model.model
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(prompt)["input_ids"]]])
    search = GenerationConfig(max_new_tokens=20, do_sample=False, eos_token_id=2, pad_token_id=0)
    found = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=search)
    answer = tokenizer.decode(found[0, ids.shape[1] :], skip_special_tokens=True)
    assert text_model.generate(prompt, 20) == answer
    assert "".join(text_model.stream(prompt, 20)) == answer


class Scripted:
    """Says the tokens of an answer, whatever it reads."""

    device = "cpu"

    def __init__(self, model: Any, answer: list[int]) -> None:
        self.config, self.generation_config, self.answer = model.config, model.generation_config, answer

    def __call__(self, past_key_values: int | None, **_: object) -> "Scripted":
        self.past_key_values = (past_key_values or 0) + 1
        likely = torch.tensor([[self.answer[self.past_key_values - 1]]])
        self.logits = torch.nn.functional.one_hot(likely, 300).float()
        return self


def test_it_stops_where_the_model_ends(text_model: TextModel) -> None:
    tokenizer = text_model.tokenizer
    answer = tokenizer("one.two")["input_ids"]
    for end in (tokenizer.eos_token_id, [tokenizer.eos_token_id, answer[3]], None):
        scripted = Scripted(text_model.model, answer)
        scripted.generation_config = GenerationConfig(eos_token_id=end)
        assert TextModel(scripted, tokenizer, adds_bos=False).generate("a", 7) == (
            "one" if isinstance(end, list) else "one.two"
        )
    ended = Scripted(text_model.model, [*answer, tokenizer.eos_token_id])
    assert TextModel(ended, tokenizer, adds_bos=False).generate("a", 20) == "one.two"


def test_pieces_are_whole_characters(text_model: TextModel) -> None:
    answer = text_model.tokenizer("กxé")["input_ids"]
    scripted = TextModel(Scripted(text_model.model, answer), text_model.tokenizer, adds_bos=False)
    pieces = list(scripted.stream("a", len(answer)))
    assert [piece for piece in pieces if piece] == ["ก", "x", "é"]
    assert scripted.generate("a", len(answer) - 1).startswith("กx")


@pytest.mark.parametrize(
    ("prompt", "most", "chat", "words"),
    [
        (" ", 4, False, "prompt is empty"),
        ("a", 0, False, "at least one token"),
        ("a", 200, False, "reads 128 at most"),
        ("a", 4, True, "no chat template"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_the_first_piece(
    text_model: TextModel, prompt: str, most: int, chat: bool, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        text_model.stream(prompt, most, chat=chat)


def test_a_chat_is_worded_by_the_models_template(text_model: TextModel) -> None:
    text_model.tokenizer.chat_template = "<s>{{ messages[0]['content'] }}!"
    try:
        assert text_model.generate("hm", 6, chat=True) == text_model.generate("hm!", 6)
    finally:
        text_model.tokenizer.chat_template = None
