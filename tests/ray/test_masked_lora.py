"""Masked LoRA on task items, on two actors under DeepSpeed, is that of one process; the base stays as it is, bit for bit."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from polyneuron.cluster.actors.group import ModelGroup
from polyneuron.cluster.actors.session import ray_session
from polyneuron.cluster.ranks.training import TrainJob
from polyneuron.cluster.spec import GroupSpec, ModelSpec
from polyneuron.eval.tasks.benchmark_data import BenchmarkData
from polyneuron.eval.tasks.training_data import training_data
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.load import from_pretrained, load_model
from polyneuron.neuron_core.model.opening import load_config
from polyneuron.neuron_core.model.stored_model import StoredModel
from polyneuron.neuron_core.training.choices.transfer_recipes import TRANSFER_RECIPES
from polyneuron.neuron_core.training.data.answer_blocks import AnswerFeed, prepare_answers
from polyneuron.neuron_core.training.data.feed import with_attention
from polyneuron.neuron_core.training.loop.stepper import PlainStepper
from polyneuron.neuron_core.training.loop.trainer import train
from polyneuron.neuron_core.training.trainable.lora_spec import LoraSpec
from polyneuron.neuron_core.training.trainable.low_rank import LowRank
from tests.edits import APART_32, apart
from tests.neuron_core.model.test_nf4 import WIDE
from tests.neuron_core.training.trainable.test_masked_lora import chosen
from tests.ray.training_checks import train_and_hash
from tests.tiny_models import save_tiny_model

pytestmark = pytest.mark.ray
RECIPE = dataclasses.replace(
    TRANSFER_RECIPES["xnli"], lora=LoraSpec(2, 4), batch=5, learning_rate=5e-3, max_tokens=96
)
SETTINGS = RECIPE.settings(6, micro_batch=2)


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    with ray_session(2):
        yield


@pytest.mark.long
@pytest.mark.parametrize("name", ["llama-gqa-tied", "phi3"])
@pytest.mark.parametrize(
    ("zero_stage", "nf4"),
    [
        pytest.param(2, False, id="2"),
        pytest.param(2, True, id="2-nf4", marks=pytest.mark.slow),
        pytest.param(3, False, id="3", marks=pytest.mark.slow),
    ],
)
def test_two_actors_train_as_one_process_does(
    session: None, tmp_path: Path, zero_stage: Any, nf4: bool, name: str
) -> None:
    folder = save_tiny_model(tmp_path / "model", name, **WIDE)
    model, tokenizer = load_model(folder)
    examples = training_data("xnli", BenchmarkData("sample")).examples
    answers = prepare_answers(
        tmp_path / "answers", examples, "en", tokenizer, max_tokens=RECIPE.max_tokens, add_bos=False
    )
    feed = AnswerFeed(
        folders=(str(answers.folder),),
        config=with_attention(model.config),
        dtype="float32",
        global_batch=RECIPE.batch,
        seed=0,
        epochs=2,
    )
    neurons = chosen(model)
    trained = from_pretrained(folder, load_config(folder), torch.float32, nf4=nf4)
    low_rank = LowRank(trained, neurons, RECIPE.lora, seed=1)
    with low_rank.attached():
        stepper = PlainStepper(trained, low_rank.trained, SETTINGS)
        expected = train(stepper, feed.blocks_of_step, feed.batch, SETTINGS)
        values = stepper.values()
    edit = low_rank.to_edit("masked", values, StoredModel(folder, "float32"))
    job = TrainJob(
        neuron_set=neurons,
        settings=SETTINGS,
        zero_stage=zero_stage,
        recomputed_layers=0.5,
        key="key",
        folder=str(tmp_path / "steps"),
        name="masked",
        lora=RECIPE.lora,
        seed=1,
    )
    kind: Any = f"zero{zero_stage}"
    with ModelGroup(ModelSpec(source=str(folder), nf4=nf4), GroupSpec(world_size=2), kind) as group:
        results = group.run(
            train_and_hash, [], job=job, blocks_of_step=feed.blocks_of_step, make_batch=feed.batch
        )
    assert all(untouched for untouched, _ in results)
    found = results[0][1]
    losses = [row["loss_nats"] for row in found.log]
    wanted = [row["loss_nats"] for row in expected.log]
    assert found.n_trainable == sum(value.numel() for value in values.values())
    assert found.edit.values is not None and edit.values is not None
    gap = max(abs(a - b) for a, b in zip(losses, wanted, strict=True))
    start = WeightEdit.capture(edit.neuron_set, model).values
    assert start is not None
    far = apart(found.edit.values, edit.values, start)
    print(
        f"{name}, ZeRO-{zero_stage}{', NF4' if nf4 else ''}: largest difference of a loss {gap:.1e}, apart {far:.1e} of the way"
    )
    assert gap < 1e-5 * wanted[0] and far < APART_32
    outside(model, found.edit.values, edit.neuron_set)


def outside(model: Any, values: dict[str, torch.Tensor], neurons: Any) -> None:
    """Beside attention, exactly the gate rows of the chosen neurons differ from the base model's."""
    for key, value in values.items():
        if not key.endswith(":ffn"):
            continue
        parameter = model.get_parameter(key.partition(":")[0])
        indices = torch.from_numpy(neurons.indices(int(key.split(".")[2]), "ffn").copy())
        if "gate_up" in key:
            same = torch.cat([indices, indices + len(parameter) // 2])
            now, was, n_changed = value, parameter[same], len(indices)
        elif "gate" in key:
            now, was, n_changed = value, parameter[indices], len(indices)
        else:
            axis = int("down" in key)
            now, was, n_changed = value, parameter.index_select(axis, indices).movedim(axis, 0), 0
        changed = (now != was).any(-1)
        assert changed[:n_changed].all() and not changed[n_changed:].any(), key
