"""The harness on a tiny real model: items, scores, prompts that do not fit, and the same questions on every run."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyneuron.eval.engines.settings import EngineSettings, apply_bos_rule
from polyneuron.eval.tasks.benchmarks import BenchmarkTask, task_of
from polyneuron.eval.tasks.judge import Judge, summary
from polyneuron.eval.verdicts.statistics import wilson
from polyneuron.neuron_core.common.errors import EngineError
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.measures.perplexity import perplexity
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.model.opening import load_config
from polyneuron.neuron_core.passes.batches import Sentence
from tests.edits import random_neurons
from tests.tiny_models import save_tiny_model, token_ids


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny", max_position_embeddings=4096)


def started(folder: Path, max_model_len: int = 4096, add_bos: bool = False) -> Judge:
    settings = EngineSettings(
        source=str(folder), backend="hf", dtype="float32", add_bos=add_bos, max_model_len=max_model_len
    )
    return Judge(settings, "sample")


@pytest.fixture(scope="module")
def judge(folder: Path) -> Iterator[Judge]:
    made = started(folder)
    yield made
    made.close()


def planned(
    name: str, language: str, n_shots: int = 0, max_items: int = 5, max_gen_toks: int = 4
) -> BenchmarkTask:
    task = task_of(name, language, n_shots=n_shots, max_gen_toks=max_gen_toks, max_items=max_items)
    assert isinstance(task, BenchmarkTask)
    return task


def zeroed(folder: Path) -> WeightEdit:
    return WeightEdit.zero(random_neurons(load_config(folder), 8, ("q", "v", "ffn")))


def test_multiple_choice_items_carry_everything_a_paired_test_needs(judge: Judge) -> None:
    found = judge.evaluate(None, planned("xnli", "sw"))
    assert [row["item"] for row in found.samples] == [0, 1, 2, 3, 4]
    (score,) = found.scores
    assert score["primary"] and score["metric"] == "acc" and score["interval"] == "wilson" and score["n"] == 5
    assert score["value"] == sum(row["value"] for row in found.samples) / 5
    assert score["low"] <= score["value"] <= score["high"]
    assert len({row["prompt_hash"] for row in found.samples}) == 5  # the prompt of XNLI is in its choices
    assert all(row["response"].startswith("[-") for row in found.samples)


def test_generation_is_judged_by_one_primary_filter(judge: Judge) -> None:
    found = judge.evaluate(None, planned("mgsm_direct", "en", n_shots=2, max_items=3))
    assert {(row["metric"], row["filter"], row["primary"]) for row in found.scores} == {
        ("exact_match", "remove_whitespace", False),
        ("exact_match", "flexible-extract", True),
    }
    assert len(found.samples) == 6


@pytest.mark.parametrize("max_items", [1, 2, 3, 5])
def test_fewer_items_than_subjects_are_asked_all_the_same(judge: Judge, max_items: int) -> None:
    """lm-eval runs a subject whole of which no item is named."""
    samples = judge.evaluate(None, planned("mmmlu", "sw", max_items=max_items)).samples
    primary = [row for row in samples if row["metric"] == "acc"]
    assert len(primary) == max_items and len({row["task"] for row in primary}) == min(max_items, 4)


def test_subjects_are_taken_in_turn(judge: Judge) -> None:
    found = judge.evaluate(None, planned("mmmlu", "sw", max_items=6))
    acc = [row for row in found.samples if row["metric"] == "acc"]
    assert sorted(row["item"] for row in acc) == [0, 0, 0, 0, 1, 1]
    assert len({row["task"] for row in acc}) == 4


def test_every_run_asks_the_same_questions_and_the_base_comes_back(judge: Judge, folder: Path) -> None:
    task = planned("mgsm_direct", "de", n_shots=3, max_items=4)
    base = judge.evaluate(None, task)
    changed = judge.evaluate(zeroed(folder), task)
    for column in ("prompt_hash", "tokens_hash", "doc_hash"):
        assert [row[column] for row in changed.samples] == [row[column] for row in base.samples]
    assert [row["response"] for row in changed.samples] != [row["response"] for row in base.samples]
    assert judge.evaluate(None, task) == base


def test_another_process_asks_the_same_questions(judge: Judge, folder: Path) -> None:
    task = planned("mgsm_direct", "fr", n_shots=3, max_items=4)
    judge.evaluate(None, planned("mgsm_direct", "sw", n_shots=2, max_items=2))
    fresh = started(folder)
    assert fresh.evaluate(None, task) == judge.evaluate(None, task)
    fresh.close()


def test_bos_is_added_where_the_tokenizer_has_no_template_for_it(judge: Judge, folder: Path) -> None:
    task = planned("xquad", "en", max_items=2)
    with_bos = started(folder, add_bos=True)
    assert with_bos._engine.lm.tok_encode("ab")[0] == with_bos._engine.lm.tokenizer.bos_token_id
    ours, theirs = judge.evaluate(None, task).samples, with_bos.evaluate(None, task).samples
    with_bos.close()
    assert [row["prompt_hash"] for row in ours] == [row["prompt_hash"] for row in theirs]
    assert all(a["tokens_hash"] != b["tokens_hash"] for a, b in zip(ours, theirs, strict=True))


def test_a_bos_rule_that_cannot_be_followed_is_refused(judge: Judge) -> None:
    class Stubborn:
        """A tokenizer that begins with BOS whatever is asked."""

        tokenizer = judge._engine.lm.tokenizer

        def tok_encode(self, text: str) -> list[int]:
            bos: int = self.tokenizer.bos_token_id
            return [bos, 5]

    with pytest.raises(
        EngineError, match=r"add_bos is false, but prompts .* begin with the tokens \[\d+, 5\]"
    ):
        apply_bos_rule(Stubborn(), judge.settings)


def test_prompts_that_do_not_fit_are_null_and_counted(folder: Path) -> None:
    short = started(folder, max_model_len=64)
    found = short.evaluate(None, planned("mgsm_direct", "en", n_shots=2, max_items=3))
    short.close()
    assert all(row["value"] is None for row in found.samples)
    assert all(score["value"] is None and score["n_unscored"] == 3 for score in found.scores)
    assert "max_model_len" in found.scores[0]["null_reason"]


def test_perplexity_through_the_engine_is_the_one_of_the_workers(judge: Judge, folder: Path) -> None:
    sentences = [Sentence("x", i, tuple(ids)) for i, ids in enumerate(token_ids([9, 17, 30]))]
    (rows,) = judge.sentence_nlls([None], sentences)
    nll = math.exp(sum(row.nll_nats for row in rows) / sum(row.n_tokens for row in rows))
    model, tokenizer = load_model(folder)
    assert nll == pytest.approx(
        perplexity(model, tokenizer, [list(s.token_ids) for s in sentences]), rel=1e-5
    )


def test_summaries() -> None:
    right = summary([1.0, 0.0, 1.0, 1.0], 2)
    assert (right["value"], right["n"], right["n_unscored"], right["interval"]) == (0.75, 4, 2, "wilson")
    assert (right["low"], right["high"]) == wilson(3, 4) and right["stderr"] == pytest.approx(
        math.sqrt(3 / 64)
    )
    graded = summary([0.5, 0.25, 1.0], 0)
    assert graded["interval"] == "plus-four" and 0 <= graded["low"] < graded["value"] < graded["high"] <= 1
    assert graded["stderr"] == pytest.approx(math.sqrt(7 / 72 / 3))
    assert right["null_reason"] is graded["null_reason"] is None
    nothing = summary([], 3)
    assert (nothing["n"], nothing["n_unscored"]) == (0, 3)
    assert all(nothing[name] is None for name in ("value", "stderr", "low", "high", "interval"))
    assert "none of 3 prompts fits" in nothing["null_reason"]
