"""What a model is taught is, string for string and token for token, what lm-eval gives it when it asks the same item."""

from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from lm_eval.models.huggingface import HFLM

from polyneuron.eval.tasks.benchmark_data import BenchmarkData
from polyneuron.eval.tasks.benchmarks import BenchmarkTask, task_of
from polyneuron.eval.tasks.harness import Tasks, _token_ids
from polyneuron.eval.tasks.training_data import squad_example, training_data, training_task, xnli_example
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.training.data.answers import AnswerCounts, answer_tokens
from tests.real_models import smollm2_gguf
from tests.tiny_models import save_tiny_model

DATA = BenchmarkData("sample")


def official(name: str) -> Any:
    """lm-eval's English task of a benchmark."""
    asked = task_of(name, "en")
    assert isinstance(asked, BenchmarkTask)
    (task,) = Tasks(asked, DATA.locate(asked)).tasks.values()
    return task


def test_xnli_is_the_right_choice_of_the_official_task() -> None:
    task = official("xnli")
    rows = [*task.training_docs(), *task.validation_docs()]
    assert len(rows) == 48 + 33
    for row in rows:
        example = xnli_example(row)
        assert task.doc_to_text(row) == "" and example.scored
        choices = task.doc_to_choice(row)
        assert example.prompt + example.answer == choices[task.doc_to_target(row)]
        # Up to the prompt's end the three choices are one, so only the answer decides.
        assert {choice[: len(example.prompt)] for choice in choices} == {example.prompt}
        assert len({choice[len(example.prompt) :].split(",")[0] for choice in choices}) == 3


def test_squad_is_the_official_prompt_of_xquad() -> None:
    task = official("xquad")
    squad = DATA.locate(training_task("xquad"))
    rows = [*task.validation_docs(), *load_dataset(squad.path, squad.config, split="train", **squad.kwargs)]
    assert len(rows) == 20 + 24
    for row in rows:
        example = squad_example(row)
        assert example.prompt == task.doc_to_text(row) and not example.scored
        assert example.answer == task.config.target_delimiter + task.doc_to_target(row)
        assert example.needs_from is not None
        assert example.prompt[example.needs_from :].startswith(row["answers"]["text"][0])


@pytest.mark.parametrize("add_bos", [False, True])
def test_tokens_are_those_that_lm_eval_feeds(tmp_path: Path, add_bos: bool) -> None:
    compare(save_tiny_model(tmp_path / "tiny"), add_bos)


@pytest.mark.slow
def test_tokens_of_smollm2_are_those_that_lm_eval_feeds() -> None:
    compare(smollm2_gguf(), False)


def compare(source: Path, add_bos: bool) -> None:
    model, tokenizer = load_model(source)
    lm: Any = HFLM(pretrained=model, tokenizer=tokenizer, max_length=4096, add_bos_token=add_bos)
    if add_bos:  # as `apply_bos_rule` makes it
        from tokenizers.processors import TemplateProcessing

        bos = (tokenizer.bos_token, tokenizer.bos_token_id)
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{bos[0]} $A", special_tokens=[bos]
        )
    for name in ("xnli", "xquad"):
        examples = training_data(name, DATA).examples  # type: ignore[arg-type]
        counts = AnswerCounts()
        found = list(answer_tokens(examples, tokenizer, 4096, add_bos, counts))
        assert counts.kept == len(examples) and not counts.truncated and not counts.dropped
        for example, (ids, n_prompt) in zip(examples, found, strict=True):
            answer = tokenizer.decode(ids[n_prompt:])
            if example.scored:
                assert ids == _token_ids(("", example.prompt + example.answer), lm)
                assert answer == example.answer
            else:
                assert ids[:n_prompt] == lm.tok_encode(example.prompt)
                assert answer == example.answer + tokenizer.eos_token
