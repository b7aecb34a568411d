"""Validation while training: it is the perplexity measured elsewhere, decides when to stop, and survives a kill."""

from pathlib import Path
from typing import Any

import pytest
import torch

from polyneuron.neuron_core.measures.perplexity import sentence_nlls
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from polyneuron.neuron_core.training.loop.checkpoints import Checkpoints
from polyneuron.neuron_core.training.loop.settings import TrainSettings
from polyneuron.neuron_core.training.loop.stepper import PlainStepper
from polyneuron.neuron_core.training.loop.trainer import Trained, train
from polyneuron.neuron_core.training.loop.validation import Validation
from polyneuron.neuron_core.training.trainable.compact import CompactNeurons
from tests.neuron_core.training.loop.test_trainer import chosen
from tests.neuron_core.training.plain_batches import four_in_turn, make_batch
from tests.tiny_models import tiny_model, token_ids

SETTINGS = TrainSettings(
    n_steps=12, global_batch=4, micro_batch=2, learning_rate=8e-2, warmup=0, checkpoint_every=1
)
SENTENCES = {
    language: [
        Sentence(language, i, tuple(ids)) for i, ids in enumerate(token_ids([5, 9, 7, 3, 8], seed=seed))
    ]
    for seed, language in enumerate(["en", "sw"])
}


def run(
    validation: Validation, folder: Path | None = None, stop_after: int | None = None
) -> tuple[Trained, dict[str, torch.Tensor]]:
    model = tiny_model("llama-gqa-tied")

    def progress(done: int, total: int) -> None:
        if done == stop_after:
            raise KeyboardInterrupt

    with CompactNeurons(model, chosen(model)).attached() as compact:
        stepper = PlainStepper(model, compact.trained, SETTINGS)
        checkpoints = None if folder is None else Checkpoints(folder, "job")
        trained = train(
            stepper,
            four_in_turn,
            make_batch,
            SETTINGS,
            checkpoints=checkpoints,
            progress=progress,
            validation=validation,
        )
        return trained, stepper.values()


def test_the_first_validation_is_the_base_models_and_the_last_the_edits() -> None:
    trained, values = run(Validation(SENTENCES, ("sw",)))
    assert [(row["step"], row["language"]) for row in trained.validations] == [
        (step, language) for step in (0, 12) for language in ("en", "sw")
    ]
    model = tiny_model("llama-gqa-tied")
    edit = CompactNeurons(model, chosen(model)).to_edit("tuned", values)
    batches = micro_batches([s for found in SENTENCES.values() for s in found], 3)
    for step, nlls in zip((0, 12), sentence_nlls(LayerMajor(model), batches, [None, edit]), strict=True):
        for language in SENTENCES:
            (row,) = [r for r in trained.validations if r["step"] == step and r["language"] == language]
            mine = [nll for nll in nlls if nll.language == language]
            assert row["n_tokens"] == sum(nll.n_tokens for nll in mine)
            assert row["nll_nats"] == pytest.approx(sum(nll.nll_nats for nll in mine), rel=1e-5)


def test_patience_stops_and_keeps_the_best_values(tmp_path: Path) -> None:
    """Random blocks teach nothing about random sentences, so validation soon gets worse."""
    validation = Validation(SENTENCES, ("en", "sw"), every=1, patience=3)
    trained, last = run(validation)
    best = min(range(len(trained.log) + 1), key=lambda step: watched(trained, step))
    assert best > 0 and len(trained.log) == best + 3 < SETTINGS.n_steps
    with pytest.raises(KeyboardInterrupt):
        run(validation, tmp_path, stop_after=best)
    there = Checkpoints(tmp_path, "job").latest()
    assert trained.best is not None and there is not None and there.step == best
    assert all(torch.equal(value, there.tensors[f"value/{name}"]) for name, value in trained.best.items())
    assert any(not torch.equal(trained.best[name], last[name]) for name in last)


def watched(trained: Trained, step: int) -> float:
    rows = [row for row in trained.validations if row["step"] == step]
    return sum(row["nll_nats"] / row["n_tokens"] for row in rows) / len(rows)


@pytest.mark.parametrize("stop_after", [1, 2, 4])
def test_an_interrupted_training_validates_and_stops_as_an_unbroken_one(
    tmp_path: Path, stop_after: int
) -> None:
    validation = Validation(SENTENCES, ("en", "sw"), every=2, patience=2)
    whole, _ = run(validation)
    with pytest.raises(KeyboardInterrupt):
        run(validation, tmp_path, stop_after)
    resumed, _ = run(validation, tmp_path)
    assert resumed.validations == whole.validations and len(resumed.log) == len(whole.log)
    assert resumed.best is not None and whole.best is not None
    assert all(torch.equal(resumed.best[name], whole.best[name]) for name in whole.best)
    again, _ = run(validation, tmp_path)
    assert again.log == resumed.log  # a stopped training is not taken up again


def test_the_best_step_is_the_first_of_equals_and_of_watched_languages_only() -> None:
    validation = Validation(SENTENCES, ("sw",), every=1, patience=2)

    def rows(*sw: float) -> list[dict[str, Any]]:
        return [
            {"step": step, "language": language, "nll_nats": nats, "n_tokens": 2}
            for step, value in enumerate(sw)
            for language, nats in (("en", -step), ("sw", value))
        ]

    assert validation.best_step(rows(3, 1, 1, 2)) == 1
    assert not validation.is_over(rows(3, 1, 1)) and validation.is_over(rows(3, 1, 1, 2))
    assert not Validation(SENTENCES, ("sw",), every=1).is_over(rows(1, 2, 3, 4, 5))
    assert [step for step in range(8) if Validation(SENTENCES, ("sw",), every=3).is_due(step, 7)] == [
        0,
        3,
        6,
        7,
    ]
    with pytest.raises(ValueError, match="no validation sentences in th"):
        Validation(SENTENCES, ("th",))
