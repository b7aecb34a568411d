"""Masked LoRA on a base in 4 bits is masked LoRA on the numbers that these bits stand for; the edit is of the files' weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit

from polyneuron.neuron_core.model.load import from_pretrained, load_model
from polyneuron.neuron_core.model.opening import load_config
from polyneuron.neuron_core.model.stored_model import StoredModel
from polyneuron.neuron_core.training.loop.stepper import PlainStepper, summed_loss
from polyneuron.neuron_core.training.loop.trainer import train
from polyneuron.neuron_core.training.trainable.low_rank import LowRank
from tests.neuron_core.training.plain_batches import four_in_turn, make_batch
from tests.neuron_core.training.trainable.test_masked_lora import SETTINGS, SPEC, bits_of, chosen
from tests.parity.masked_lora import ExplicitLora
from tests.tiny_models import save_tiny_model

# widths that fill bitsandbytes' blocks of 64
WIDE = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 16}


def dequantised_twin(folder: Path, model: Any) -> Any:
    """A plain model with the numbers that the 4-bit weights of `model` stand for."""
    twin = load_model(folder)[0]
    n_quantised = 0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dtype == torch.uint8:
                twin.get_parameter(name).copy_(dequantize_4bit(parameter.data, parameter.quant_state))
                n_quantised += 1
    assert n_quantised
    return twin


@pytest.mark.parametrize("name", ["llama-gqa-tied", "qwen2", "gemma3", "phi3"])
def test_training_is_that_on_the_dequantised_base(tmp_path: Path, name: str) -> None:
    folder = save_tiny_model(tmp_path / "model", name, **WIDE)
    model = from_pretrained(folder, load_config(folder), torch.float32, nf4=True)
    twin, plain = dequantised_twin(folder, model), load_model(folder)[0]
    neurons, batch = chosen(plain), make_batch([5, 6])
    low_rank = LowRank(model, neurons, SPEC, seed=3)
    packed = {key: value.clone() for key, value in model.state_dict().items()}
    with low_rank.attached():
        assert summed_loss(model, batch).item() == pytest.approx(summed_loss(twin, batch).item(), rel=1e-5)
        first = {
            key.replace(".lora_A.default", ""): value.detach()
            for key, value in low_rank.trained.items()
            if ".lora_A." in key
        }
        oracle: Any = ExplicitLora(twin, neurons, SPEC, first, SETTINGS)
        stepper = PlainStepper(model, low_rank.trained, SETTINGS)
        log = train(stepper, four_in_turn, make_batch, SETTINGS).log
        expected = train(oracle, four_in_turn, make_batch, SETTINGS).log
        values = stepper.values()
    for found, wanted in zip(log, expected, strict=True):
        assert found["loss_nats"] == pytest.approx(wanted["loss_nats"], rel=2e-5)
    assert bits_of(model.state_dict()) == bits_of(packed)

    edit = low_rank.to_edit("masked", values, StoredModel(folder, "float32"))
    of_files = LowRank(plain, neurons, SPEC, seed=3)
    same = of_files.to_edit("masked", values)
    assert edit.values is not None and same.values is not None
    assert bits_of(dict(edit.values)) == bits_of(dict(same.values))


def test_a_base_in_4_bits_is_smaller(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model", **WIDE)
    plain, packed = (
        from_pretrained(folder, load_config(folder), torch.bfloat16, nf4=nf4) for nf4 in (False, True)
    )
    layers = [sum(p.numel() * p.element_size() for p in m.model.layers.parameters()) for m in (plain, packed)]
    assert layers[1] < 0.3 * layers[0]
    assert torch.equal(plain.get_input_embeddings().weight, packed.get_input_embeddings().weight)
