"""Whatever biases a model has belong to its neurons: edits take them, compact training keeps them, a stored model has them."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from polyneuron.neuron_core.common.errors import UnsupportedArchitecture
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.model.stored_model import StoredModel
from polyneuron.neuron_core.training.trainable.compact import CompactNeurons
from polyneuron.neuron_core.training.trainable.lora_spec import LoraSpec
from polyneuron.neuron_core.training.trainable.low_rank import LowRank
from tests.edits import random_neurons
from tests.tiny_models import TINY, tiny_model, token_ids

IDS = torch.tensor(token_ids([9, 9]))
FLAGS = ({}, {"attention_bias": True}, {"mlp_bias": True}, {"attention_bias": True, "mlp_bias": True})
CASES = [
    pytest.param(name, flags, id=f"{name}-{'+'.join(flags) or 'none'}") for name in TINY for flags in FLAGS
]
BIASED = [
    pytest.param(name, flags, id=f"{name}-{'+'.join(flags)}")
    for name in TINY
    for flags in FLAGS[1:]
    if name.startswith("llama-gqa") or (name in ("qwen3", "gemma2", "olmo2") and "mlp_bias" not in flags)
]


def with_biases(name: str, flags: dict[str, bool]) -> Any:
    """A model of random weights whose every bias is far from 0, in float64."""
    model = tiny_model(name, **flags).double()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter_name.endswith("bias"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


@pytest.mark.parametrize(("name", "flags"), CASES)
def test_a_config_stands_for_the_biases_that_its_model_has(name: str, flags: dict[str, bool]) -> None:
    model = tiny_model(name, **flags)
    of_model = anatomy_of(model)
    assert anatomy_of(model.config) == of_model
    layer = of_model.layers(model)[0]
    rows = ("q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj", "up_proj", "gate_up_proj")
    there = {n for n, _ in layer.named_parameters() if n.endswith(".bias") and n.split(".")[-2] in rows}
    assert of_model.biases == there
    if name.startswith("llama"):
        biased_by_itself = name == "llama-biased" or "attention_bias" in flags
        assert len(there) == 3 * biased_by_itself + 2 * ("mlp_bias" in flags)


@pytest.mark.parametrize(("name", "flags"), BIASED)
def test_a_wrapper_for_training_starts_as_the_model(name: str, flags: dict[str, bool]) -> None:
    model = with_biases(name, flags)
    expected = model(IDS).logits
    neurons = random_neurons(model, 3)
    compact = CompactNeurons(model, neurons, master_dtype=torch.float64)
    assert {key.rpartition(":")[0] for key in compact.trained} == {
        f"{anatomy_of(model).family.layers_path}.{layer}.{part.parameter}"
        for layer, group in neurons.places()
        for part in anatomy_of(model).slices(group)
    }
    with compact.attached():
        assert torch.allclose(model(IDS).logits, expected, rtol=1e-10, atol=1e-10)
    with compact.to_edit().applied(model):
        assert torch.equal(model(IDS).logits, expected)
    low_rank = LowRank(
        model, neurons.restrict(("q", "k", "v", "ffn")), LoraSpec(rank=2, alpha=4.0, ffn="gate")
    )
    with low_rank.attached():
        assert torch.allclose(model(IDS).logits, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "flags"), BIASED)
def test_a_deactivated_neuron_is_gone_from_a_copy_too(name: str, flags: dict[str, bool]) -> None:
    """Against zeros written by hand into a copy, by the names that transformers gives the parameters."""
    model = with_biases(name, flags)
    anatomy, twin = anatomy_of(model), copy.deepcopy(model)
    neurons = random_neurons(model, 3)
    with torch.no_grad():
        for layer, group in neurons.places():
            index = torch.from_numpy(neurons.indices(layer, group).astype("int64"))
            block: Any = anatomy.layers(twin)[layer]
            for linear, axis, offset in by_hand(block, group):
                linear.weight.index_fill_(axis, index + offset, 0)
                if axis == 0 and linear.bias is not None:
                    linear.bias.index_fill_(0, index + offset, 0)
    with WeightEdit.zero(neurons).applied(model):
        for (key, found), wanted in zip(model.named_parameters(), twin.parameters(), strict=True):
            assert torch.equal(found, wanted), key
        assert torch.equal(model(IDS).logits, twin(IDS).logits)


def by_hand(layer: Any, group: str) -> list[tuple[nn.Linear, int, int]]:
    """Linears, axes and offsets of a group's neurons, written down once more."""
    attention, mlp = layer.self_attn, layer.mlp
    if group == "o":
        return [(attention.o_proj, 1, 0)]
    if group == "ffn":
        down = (mlp.down_proj, 1, 0)
        if hasattr(mlp, "gate_up_proj"):
            return [(mlp.gate_up_proj, 0, 0), (mlp.gate_up_proj, 0, mlp.down_proj.in_features), down]
        return [(mlp.gate_proj, 0, 0), (mlp.up_proj, 0, 0), down]
    if hasattr(attention, "qkv_proj"):
        q = attention.o_proj.in_features
        kv = (attention.qkv_proj.out_features - q) // 2
        return [(attention.qkv_proj, 0, {"q": 0, "k": q, "v": q + kv}[group])]
    return [(getattr(attention, f"{group}_proj"), 0, 0)]


def test_a_fused_bias_is_shared_out(tmp_path: Path) -> None:
    """No config of Phi-3 asks for biases, but a live model may have them."""
    model = tiny_model("phi3").double()
    for layer in model.model.layers:
        for linear in (layer.self_attn.qkv_proj, layer.mlp.gate_up_proj):
            linear.bias = nn.Parameter(torch.randn(linear.out_features, dtype=torch.float64))
    expected, neurons = model(IDS).logits, random_neurons(model, 3)
    with CompactNeurons(model, neurons, master_dtype=torch.float64).attached():
        assert torch.allclose(model(IDS).logits, expected, rtol=1e-10, atol=1e-10)
    captured = WeightEdit.capture(neurons, model)
    with WeightEdit.zero(neurons).applied(model), captured.applied(model):
        assert torch.equal(model(IDS).logits, expected)


def test_layers_that_differ_are_refused() -> None:
    model = tiny_model("llama-biased")
    model.model.layers[1].self_attn.k_proj.bias = None
    with pytest.raises(UnsupportedArchitecture, match="biases"):
        anatomy_of(model)


def test_a_streamed_model_has_them(tmp_path: Path) -> None:
    model = tiny_model("llama-gqa-tied", mlp_bias=True)
    model.save_pretrained(tmp_path)
    stored = StoredModel(tmp_path, "float32")
    assert anatomy_of(stored.model) == anatomy_of(model)
    assert len(anatomy_of(model).biases) == 2
    with stored.gather(list(stored.model.parameters())):
        assert torch.equal(stored.model(IDS).logits, model(IDS).logits)
    assert set(GROUPS) == set(anatomy_of(model).widths)
