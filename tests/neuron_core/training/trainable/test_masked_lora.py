"""Masked LoRA is W + (alpha / r) (B * M) A, forward, backward and over steps; nothing outside its mask changes."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.training.loop.checkpoints import Checkpoints
from polyneuron.neuron_core.training.loop.settings import TrainSettings
from polyneuron.neuron_core.training.loop.stepper import PlainStepper, summed_loss
from polyneuron.neuron_core.training.loop.trainer import train
from polyneuron.neuron_core.training.trainable.lora_spec import LoraSpec, everywhere
from polyneuron.neuron_core.training.trainable.low_rank import LowRank, every_neuron, with_attention_groups
from tests.edits import ROUNDED_64
from tests.neuron_core.training.plain_batches import four_in_turn, make_batch
from tests.parity.masked_lora import ExplicitLora
from tests.parity.oracle import float64_copy
from tests.tiny_models import TINY, tiny_model

SPEC = LoraSpec(rank=2, alpha=6)
SETTINGS = TrainSettings(
    n_steps=4,
    global_batch=4,
    micro_batch=2,
    learning_rate=1e-2,
    weight_decay=0.1,
    betas=(0.95, 0.999),
    clip_norm=10.0,
)


def chosen(model: Any, groups: tuple[str, ...] = ("q", "k", "v", "o")) -> NeuronSet:
    """Some ffn neurons of the first and the last layer, the last neuron among them, and all of attention."""
    anatomy = anatomy_of(model)
    last = anatomy.n_layers - 1
    indices = {(0, "ffn"): [3, 17, anatomy.ffn_width - 1], (last, "ffn"): [0, 8]}
    ffn = NeuronSet.from_indices("tiny", {"ffn": anatomy.ffn_width}, anatomy.n_layers, indices)
    return with_attention_groups(ffn, groups, anatomy)


def explicit(model: Any, neurons: NeuronSet, low_rank: LowRank) -> ExplicitLora:
    first = {
        name.replace(".lora_A.default", ""): value.detach()
        for name, value in low_rank.trained.items()
        if ".lora_A." in name
    }
    return ExplicitLora(float64_copy(tiny_model(model)), neurons, SPEC, first, SETTINGS)


@pytest.mark.parametrize("name", TINY)
def test_training_is_that_of_the_explicit_product(name: str) -> None:
    """In float64: see `ROUNDED_64`."""
    model = float64_copy(tiny_model(name))
    neurons, batch = chosen(model), make_batch([5, 6])
    base = summed_loss(model, batch).item()
    with LowRank(model, neurons, SPEC, seed=3).attached() as low_rank:
        for value in low_rank.trained.values():
            value.data = value.data.double()
        oracle = explicit(name, neurons, low_rank)
        assert summed_loss(model, batch).item() == pytest.approx(base, rel=1e-12)
        stepper = PlainStepper(model, low_rank.trained, SETTINGS)
        log = train(stepper, four_in_turn, make_batch, SETTINGS).log
        expected = train(oracle, four_in_turn, make_batch, SETTINGS).log  # type: ignore[arg-type]
        for found, wanted in zip(log, expected, strict=True):
            assert found["loss_nats"] == pytest.approx(wanted["loss_nats"], rel=ROUNDED_64)
            assert found["gradient_norm"] == pytest.approx(wanted["gradient_norm"], rel=ROUNDED_64)
        (summed_loss(model, batch) / 10).backward()
        oracle.backward(batch, 0.1)
        for weight, mask in oracle.masks.items():
            linear = weight.removesuffix(".weight")
            a = low_rank.trained[f"{linear}.lora_A.default.weight"]
            b = low_rank.trained[f"{linear}.lora_B.default.weight"]
            kept, whole = mask.flatten(), oracle.b[weight]
            assert len(b) == int(kept.sum())
            assert whole.grad is not None and not whole.grad[~kept].any() and not whole[~kept].any()
            for found, wanted in (
                (b, whole[kept]),
                (a, oracle.a[weight]),
                (b.grad, whole.grad[kept]),
                (a.grad, oracle.a[weight].grad),
            ):
                torch.testing.assert_close(found, wanted, rtol=0, atol=ROUNDED_64)


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        *((name, ("q", "k", "v", "o")) for name in TINY),
        *((name, groups) for name in ("qwen2", "phi3") for groups in (("q", "v"), ())),
    ],
)
def test_the_edit_changes_nothing_outside_the_mask(name: str, groups: tuple[str, ...]) -> None:
    model = tiny_model(name)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter[torch.rand(parameter.shape, generator=torch.Generator().manual_seed(1)) < 0.05] = -0.0
    before = {key: value.clone() for key, value in model.state_dict().items()}
    neurons, batch = chosen(model, groups), make_batch([5, 6])
    with LowRank(model, neurons, SPEC).attached() as low_rank:
        stepper = PlainStepper(model, low_rank.trained, SETTINGS)
        train(stepper, four_in_turn, make_batch, SETTINGS)
        trained, values = summed_loss(model, batch).item(), stepper.values()
        first = {
            n.replace(".lora_A.default", ""): v.detach() for n, v in low_rank.trained.items() if "_A." in n
        }
    assert bits_of(model.state_dict()) == bits_of(before)
    assert all(parameter.requires_grad for parameter in model.parameters())
    masks = ExplicitLora(model, neurons, SPEC, first, SETTINGS).masks
    edit = low_rank.to_edit("masked", values)
    assert edit.neuron_set == neurons
    with edit.applied(model), torch.no_grad():
        assert summed_loss(model, batch).item() == pytest.approx(trained, rel=1e-5)
        for key, now in model.state_dict().items():
            kept = masks.get(key, torch.zeros(len(now), 1, dtype=torch.bool)).flatten()
            assert bits_of({key: now[~kept]}) == bits_of({key: before[key][~kept]}), key
            assert key not in masks or (now[kept] != before[key][kept]).any(-1).all(), key
    assert bits_of(model.state_dict()) == bits_of(before)


def bits_of(tensors: dict[str, torch.Tensor]) -> dict[str, bytes]:
    """Equal where even the signs of zeros are."""
    return {key: value.contiguous().numpy().tobytes() for key, value in tensors.items()}


def test_first_values_come_from_the_seed_alone() -> None:
    model = tiny_model("qwen3")

    def first(seed: int, spec: LoraSpec = SPEC) -> list[torch.Tensor]:
        torch.rand(3)  # a global state that nothing depends on
        with LowRank(model, chosen(model), spec, seed).attached() as low_rank:
            return [value.detach().clone() for value in low_rank.trained.values()]

    assert all(map(torch.equal, first(4), first(4)))
    assert not all(map(torch.equal, first(4), first(5)))
    normal = torch.cat([value.flatten() for value in first(0, LoraSpec(16, 32)) if value.any()])
    assert normal.std().item() == pytest.approx(0.01, rel=0.05) and abs(normal.mean().item()) < 1e-3


def test_bfloat16_bases_train_in_float32() -> None:
    model = tiny_model("llama-gqa-tied").bfloat16()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with LowRank(model, chosen(model), SPEC).attached() as low_rank:
        stepper = PlainStepper(model, low_rank.trained, SETTINGS)
        train(stepper, four_in_turn, make_batch, SETTINGS)
        values = stepper.values()
        assert {value.dtype for value in values.values()} == {torch.float32}
    edit = low_rank.to_edit("masked", values)
    assert edit.values is not None and {value.dtype for value in edit.values.values()} == {torch.bfloat16}
    with edit.applied(model):
        gate = model.get_parameter("model.layers.0.mlp.gate_proj.weight")
        changed = (gate != before["model.layers.0.mlp.gate_proj.weight"]).any(-1).nonzero().flatten()
    assert set(changed.tolist()) == {3, 17, 39}


@pytest.mark.parametrize(
    ("indices", "spec", "message"),
    [
        ({}, SPEC, "is empty"),
        (
            {(0, "o"): [1]},
            SPEC,
            "cannot be masked to 1 of its 32 input features: give all o neurons of layer 0",
        ),
        ({(1, "ffn"): [1, 2]}, everywhere(2), r"down_proj cannot be masked to 2 of its 40 .* adapt the gate"),
    ],
)
def test_masks_that_cannot_be_are_refused(
    indices: dict[tuple[int, str], list[int]], spec: LoraSpec, message: str
) -> None:
    model = tiny_model("llama-gqa-tied")
    anatomy = anatomy_of(model)
    neurons = NeuronSet.from_indices("tiny", anatomy.widths, anatomy.n_layers, indices)
    with pytest.raises(SetError, match=message):
        LowRank(model, neurons, spec)
    other = every_neuron("other", anatomy_of(tiny_model("qwen3")))
    with pytest.raises(SetError, match="give the model the set was made for"):
        LowRank(model, other, spec)


def test_a_rank_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a rank from 1 on"):
        LoraSpec(0, 1)


def test_a_masked_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    model = tiny_model("phi3")
    found = []
    for again in (False, True):
        if again:
            shutil.rmtree(tmp_path / "step-00000004")
        with LowRank(model, chosen(model), SPEC, seed=5).attached() as low_rank:
            stepper = PlainStepper(model, low_rank.trained, SETTINGS)
            settings = replace(SETTINGS, checkpoint_every=2)
            log = train(
                stepper, four_in_turn, make_batch, settings, checkpoints=Checkpoints(tmp_path, "key")
            ).log
            found.append(([row["loss_nats"] for row in log], stepper.values()))
    (losses, values), (losses_again, values_again) = found
    assert losses == losses_again and all(torch.equal(values[key], values_again[key]) for key in values)
