"""Neurons that are multiplied in the weights, against hooks that multiply their activations in the running model."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.edits.intervention import Intervention
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from tests.edits import random_neurons
from tests.tiny_models import tiny_model

FACTOR = -2.5
PROJECTIONS = {"q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj"}
INPUTS = {"o": "self_attn.o_proj", "ffn": "mlp.down_proj"}


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(torch.arange(3, 40)[None]).logits
    return found


def multiplied(index: Tensor) -> Callable[[Tensor], Tensor]:
    def multiply(values: Tensor) -> Tensor:
        changed = values.clone()
        changed[..., index] *= FACTOR
        return changed

    return multiply


def hooked(model: Any, neurons: NeuronSet) -> Tensor:
    with ExitStack() as hooks:
        for layer, group in neurons.places():
            multiply = multiplied(torch.from_numpy(neurons.indices(layer, group).copy()))
            block = model.model.layers[layer]
            if group in PROJECTIONS:
                linear = block.get_submodule(PROJECTIONS[group])
                hook = linear.register_forward_hook(lambda module, args, out, f=multiply: f(out))
            else:
                linear = block.get_submodule(INPUTS[group])
                hook = linear.register_forward_pre_hook(lambda module, args, f=multiply: (f(args[0]),))
            hooks.callback(hook.remove)
        return logits(model)


@pytest.mark.parametrize("name", ["llama-gqa-tied", "llama-biased", "qwen3", "gemma2"])
@pytest.mark.parametrize("group", ["q", "k", "v", "ffn", "o"])
def test_the_weights_do_what_hooks_do(name: str, group: str) -> None:
    model = tiny_model(name).double()
    neurons = random_neurons(model, 5, (group,))
    base, expected = logits(model), hooked(model, neurons)
    with WeightEdit.scaled(neurons, model, FACTOR).applied(model):
        assert torch.allclose(logits(model), expected, rtol=0, atol=1e-10)
    assert (base - expected).abs().max() > 1e-3 and torch.equal(logits(model), base)


def test_a_fused_model_is_scaled_as_an_intervention_scales_it() -> None:
    model = tiny_model("phi3").double()
    neurons = random_neurons(model, 5, ("ffn",))
    with Intervention.scaled(neurons, FACTOR).applied(model):
        expected = logits(model)
    with WeightEdit.scaled(neurons, model, FACTOR).applied(model):
        assert torch.allclose(logits(model), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_factor_is_finite(factor: float) -> None:
    model = tiny_model("llama-gqa-tied")
    with pytest.raises(SetError, match="finite number"):
        WeightEdit.scaled(random_neurons(model, 2), model, factor)
