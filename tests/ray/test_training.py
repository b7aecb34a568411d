"""Training on two actors under DeepSpeed, ZeRO-2 and ZeRO-3, is the training of one process."""

import dataclasses
import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from polyneuron.cluster.actors.group import ModelGroup
from polyneuron.cluster.actors.session import ray_session
from polyneuron.cluster.ranks.training import TrainJob, TrainResult, train_rank
from polyneuron.cluster.spec import GroupSpec, ModelSpec
from polyneuron.neuron_core.common.errors import TrainingError
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.measures.perplexity import sentence_nlls
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.load import load_model, resolve_model
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.training.loop.settings import TrainSettings
from polyneuron.neuron_core.training.loop.stepper import PlainStepper
from polyneuron.neuron_core.training.loop.trainer import train
from polyneuron.neuron_core.training.loop.validation import Validation
from polyneuron.neuron_core.training.trainable.compact import CompactNeurons
from polyneuron.neuron_core.training.trainable.lora_spec import everywhere
from polyneuron.neuron_core.training.trainable.low_rank import LowRank, every_neuron
from tests.edits import APART_32, apart
from tests.neuron_core.training.loop.test_trainer import chosen
from tests.neuron_core.training.plain_batches import (
    five_in_turn,
    make_batch,
    make_wide_batch,
    new_every_step,
)
from tests.ray.training_checks import (
    Twin,
    compare,
    leaves_the_rest_alone,
    masked_adamw,
    train_and_hash,
    train_and_watch,
)
from tests.real_models import smollm2_gguf
from tests.tiny_models import save_tiny_model, token_ids

pytestmark = pytest.mark.ray
SETTINGS = TrainSettings(
    n_steps=6, global_batch=5, micro_batch=2, learning_rate=5e-3, weight_decay=0.1, checkpoint_every=2
)

VALIDATION = Validation(
    {"sw": [Sentence("sw", i, tuple(ids)) for i, ids in enumerate(token_ids([5, 9, 7] * 6))]},
    ("sw",),
    every=2,
)


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    with ray_session(2):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def masked(folder: Path) -> Twin:
    return masked_adamw(folder, SETTINGS, five_in_turn, make_batch)


def job(folder: Path, where: Path, zero_stage: Any, settings: TrainSettings = SETTINGS) -> TrainJob:
    model = load_model(folder)[0]
    return job_of(chosen(model), settings, zero_stage, where, recomputed_layers=0.5)


def job_of(
    neurons: NeuronSet, settings: TrainSettings, zero_stage: Any, where: Path, recomputed_layers: float = 0.0
) -> TrainJob:
    return TrainJob(
        neuron_set=neurons,
        settings=settings,
        zero_stage=zero_stage,
        recomputed_layers=recomputed_layers,
        key="key",
        folder=str(where),
        name="tuned",
    )


def run(
    folder: Path,
    where: Path,
    zero_stage: int,
    world_size: int = 2,
    settings: TrainSettings = SETTINGS,
    **more: Any,
) -> TrainResult:
    kind: Any = f"zero{zero_stage}"
    with ModelGroup(ModelSpec(source=str(folder)), GroupSpec(world_size=world_size), kind) as group:
        results = group.run(
            train_and_hash,
            [],
            job=job(folder, where, zero_stage, settings),
            blocks_of_step=five_in_turn,
            make_batch=make_batch,
            **more,
        )
    assert all(untouched for untouched, _ in results)
    assert [result for _, result in results[1:]] == [None] * (world_size - 1)
    found: TrainResult = results[0][1]
    return found


def losses(trained: TrainResult) -> list[float]:
    return [entry["loss_nats"] for entry in trained.log]


@pytest.mark.parametrize("zero_stage", [pytest.param(2, marks=pytest.mark.long), 3])
def test_two_actors_train_as_masked_adamw_does(
    session: None, folder: Path, tmp_path: Path, masked: Twin, zero_stage: int
) -> None:
    trained = run(folder, tmp_path, zero_stage)
    loss, far = compare(trained, masked)
    print(f"ZeRO-{zero_stage}: largest difference of a loss {loss:.1e}, apart {far:.1e} of the way")
    assert loss < 1e-5 * masked.losses[0] and far < APART_32
    leaves_the_rest_alone(folder, trained.edit)


def live_models(runner: Any, batches: Any, progress: Any = None) -> int:
    """How many whole models this process holds on to."""
    gc.collect()
    return sum(isinstance(held, LlamaForCausalLM) for held in gc.get_objects())


@pytest.mark.long
def test_processes_that_have_trained_work_as_new_ones_do(session: None, folder: Path, tmp_path: Path) -> None:
    """Passes, two trainings and passes again, in the same processes, which keep nothing of what they held."""
    model, trained = ModelSpec(source=str(folder)), []
    batches = micro_batches(list(VALIDATION.sentences["sw"]), 3)
    with ModelGroup(model, GroupSpec(world_size=2)) as group:
        pids = [entry["pid"] for entry in group.stats()]
        before = group.run(sentence_nlls, batches, edits=[None])
        for place in ("first", "second"):
            group.turn_to(model, "zero2")
            what = job(folder, tmp_path / place, 2)
            trained.append(
                group.run(train_rank, [], job=what, blocks_of_step=five_in_turn, make_batch=make_batch)[0]
            )
        group.turn_to(model, "passes")
        assert group.run(sentence_nlls, batches, edits=[None]) == before
        assert group.run(live_models, []) == [1, 1]
        assert [entry["pid"] for entry in group.stats()] == pids
    fresh = run(folder, tmp_path / "fresh", 2)
    for each in trained:
        assert losses(each) == losses(fresh) and each.edit.fingerprint() == fresh.edit.fingerprint()


@pytest.mark.long
def test_workers_lost_while_they_turn_to_other_work_are_replaced(session: None, folder: Path) -> None:
    model = ModelSpec(source=str(folder))
    with ModelGroup(model, GroupSpec(world_size=2, max_restarts=1)) as group:
        os.kill(group.stats()[1]["pid"], signal.SIGKILL)
        group.turn_to(model, "zero2")
        assert group.n_restarts == 1
        assert group.run(live_models, []) == [1, 1]


@pytest.mark.long
def test_zero_3_keeps_no_frozen_weight_for_the_backward_pass(
    session: None, folder: Path, tmp_path: Path
) -> None:
    """Else every rank would hold the whole model after the forward pass."""
    settings = dataclasses.replace(SETTINGS, n_steps=1)
    what = dataclasses.replace(job(folder, tmp_path, 3, settings), recomputed_layers=0.0)
    with ModelGroup(ModelSpec(source=str(folder)), GroupSpec(world_size=2), "zero3") as group:
        kept = group.run(train_and_watch, [], job=what, blocks_of_step=five_in_turn, make_batch=make_batch)
    assert all(n_saved > 0 and not frozen for n_saved, frozen in kept)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_fifty_steps_of_smollm2_are_those_of_masked_adamw(session: None, tmp_path: Path) -> None:
    """One process, two actors with ZeRO-2 and with ZeRO-3, against whole gradients with masks."""
    source = Path(resolve_model(smollm2_gguf()))
    settings = TrainSettings(n_steps=50, global_batch=3, micro_batch=1, learning_rate=1e-4, weight_decay=0.1)
    twin = masked_adamw(source, settings, new_every_step, make_wide_batch)
    model = load_model(source)[0]
    with CompactNeurons(model, twin.neurons).attached() as compact:
        stepper = PlainStepper(model, compact.trained, settings)
        log = train(stepper, new_every_step, make_wide_batch, settings).log
        found = {
            "one process": TrainResult(
                log=log, validations=[], edit=compact.to_edit(), n_trainable=0, kept_step=50
            )
        }
    del model, compact, stepper
    for stage in (2, 3):
        what = job_of(twin.neurons, settings, stage, tmp_path / str(stage))
        kind: Any = f"zero{stage}"
        with ModelGroup(ModelSpec(source=str(source)), GroupSpec(world_size=2), kind) as group:
            results = group.run(
                train_and_hash, [], job=what, blocks_of_step=new_every_step, make_batch=make_wide_batch
            )
        assert all(untouched for untouched, _ in results)
        found[f"ZeRO-{stage}"] = results[0][1]
    for name, trained in found.items():
        loss, far = compare(trained, twin)
        leaves_the_rest_alone(source, trained.edit)
        print(
            f"{name}: {len(twin.neurons)} neurons, loss {loss:.1e} nats of {twin.losses[0]:.2f}, apart {far:.1e} of the way"
        )
        assert loss < 1e-4 and far < APART_32


@pytest.mark.long
def test_a_killed_actor_costs_nothing(session: None, folder: Path, tmp_path: Path) -> None:
    whole = run(folder, tmp_path / "whole", 2)
    slow = dataclasses.replace(SETTINGS, checkpoint_every=1)
    where = tmp_path / "killed"
    with ModelGroup(ModelSpec(source=str(folder)), GroupSpec(world_size=2), "zero2") as group:
        pids = [entry["pid"] for entry in group.stats()]

        def kill() -> None:
            while not list(where.glob("step-*")):
                time.sleep(0.01)
            os.kill(pids[1], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        results = group.run(
            train_rank,
            [],
            job=job(folder, where, 2, slow),
            blocks_of_step=five_in_turn,
            make_batch=make_batch,
        )
        killer.join()
    assert losses(results[0]) == losses(whole)
    values = results[0].edit.values
    assert all(torch.equal(values[key], value) for key, value in whole.edit.values.items())


@pytest.mark.long
@pytest.mark.parametrize("zero_stage", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_validation_adapters_and_offload_on_two_actors(
    session: None, folder: Path, tmp_path: Path, zero_stage: Any
) -> None:
    """LoRA with its base and optimizer offloaded and validation between steps equals one process."""
    model = load_model(folder)[0]
    everything = every_neuron("tiny", anatomy_of(model))
    with LowRank(model, everything, everywhere(2), seed=1).attached() as low_rank:
        stepper = PlainStepper(model, low_rank.trained, SETTINGS)
        expected = train(stepper, five_in_turn, make_batch, SETTINGS, validation=VALIDATION)
        values = stepper.values()
    what = dataclasses.replace(
        job(folder, tmp_path, zero_stage),
        neuron_set=everything,
        lora=everywhere(2),
        seed=1,
        validation=VALIDATION,
        tensorboard=str(tmp_path / "curves"),
    )
    spec = ModelSpec(source=str(folder), offload="cpu")
    kind: Any = f"zero{zero_stage}"
    with ModelGroup(spec, GroupSpec(world_size=2), kind) as group:
        found = group.run(train_rank, [], job=what, blocks_of_step=five_in_turn, make_batch=make_batch)[0]
    assert losses(found) == pytest.approx([row["loss_nats"] for row in expected.log], rel=1e-5)
    assert [row["nll_nats"] for row in found.validations] == pytest.approx(
        [row["nll_nats"] for row in expected.validations], rel=1e-5
    )
    edit, start = low_rank.to_edit("lora", values), WeightEdit.capture(everything, model)
    assert apart(found.edit.values, edit.values, start.values) < APART_32
    assert found.n_trainable == sum(value.numel() for value in values.values())
    assert scalars(tmp_path / "curves", "train/loss_nats") == pytest.approx(losses(found), rel=1e-6)
    assert len(scalars(tmp_path / "curves", "validation/nats_per_token_sw")) == 4


def scalars(folder: Path, name: str) -> list[float]:
    """What TensorBoard would draw."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [event.value for event in events.Scalars(name)]


@pytest.mark.slow
def test_another_world_size_goes_on_from_the_checkpoint(
    session: None, folder: Path, tmp_path: Path, masked: Twin
) -> None:
    """Six steps planned; stopped on two ranks after four by a checkpoint removed, finished on one."""
    run(folder, tmp_path, 2)
    import shutil

    shutil.rmtree(tmp_path / "step-00000006")
    resumed = run(folder, tmp_path, 3, world_size=1)
    assert losses(resumed) == pytest.approx(masked.losses, rel=1e-5)


@pytest.mark.slow
def test_a_ruinous_learning_rate_is_one_message(session: None, folder: Path, tmp_path: Path) -> None:
    settings = TrainSettings(n_steps=9, global_batch=5, micro_batch=2, learning_rate=1e30)
    with pytest.raises(TrainingError, match="is not finite"):
        run(folder, tmp_path, 2, settings=settings)
