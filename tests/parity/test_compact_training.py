"""Compact training against masked-gradient AdamW on the full weights, step for step."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.training.trainable.compact import CompactNeurons
from tests.edits import APART_32, ROUNDED_64, apart, random_neurons
from tests.parity.masked_adamw import MaskedAdamW
from tests.parity.oracle import float64_copy
from tests.real_models import smollm2_gguf
from tests.tiny_models import tiny_model

FAMILIES = ("llama-gqa-tied", "llama-biased", "qwen2", "qwen3", "gemma2", "gemma3", "olmo2", "phi3")
ADAMW: dict[str, Any] = dict(lr=5e-3, weight_decay=0.1)
N_STEPS = 20


def batches(n: int, vocabulary: int = 97, shape: tuple[int, int] = (3, 11)) -> Iterator[Tensor]:
    """The same `n` random batches of tokens at each call."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(n):
        yield torch.randint(3, vocabulary, shape, generator=generator)


def loss_of(model: Any, ids: Tensor) -> Tensor:
    """Mean next-token loss, in the dtype of the logits (transformers' own goes through float32)."""
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def train(model: Any, optimizer: Any, data: Iterator[Tensor]) -> list[float]:
    losses = []
    for ids in data:
        loss = loss_of(model, ids)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


class _Oracle(MaskedAdamW):
    def zero_grad(self) -> None:
        """`step` has done it."""


def differences(
    model: Any, twin: Any, neurons: NeuronSet, data: list[Tensor], dtype: torch.dtype, **settings: Any
) -> tuple[list[float], list[float], float, float]:
    """Losses of both ways, the largest difference of a chosen weight, and how far the ways are apart; checks all other
    weights bit for bit."""
    base = copy.deepcopy(model.state_dict())
    start = WeightEdit.capture(neurons, model).values
    compact = CompactNeurons(model, neurons, master_dtype=dtype)
    with compact.attached():
        fast = train(model, torch.optim.AdamW(compact.trained.values(), **settings), iter(data))
    oracle = _Oracle(twin.requires_grad_(False), neurons, **settings)
    slow = train(twin, oracle, iter(data))

    trained = WeightEdit.capture(neurons, twin).values
    mine = compact.to_edit().values
    assert trained is not None and mine is not None and start is not None
    far = apart(mine, trained, start)
    worst = max(float((mine[key] - trained[key]).abs().max()) for key in mine)
    assert all(torch.equal(value, base[name]) for name, value in model.state_dict().items())
    with compact.to_edit().applied(model):
        edited = dict(model.named_parameters())
        for name, parameter in edited.items():
            mask = oracle.masks.get(name, torch.zeros((), dtype=torch.bool)).expand(parameter.shape)
            assert torch.equal(parameter[~mask], base[name][~mask]), name
            assert not mask.any() or float((parameter != base[name])[mask].float().mean()) > 0.99, name
    return fast, slow, worst, far


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", FAMILIES)
def test_equals_masked_adamw(name: str, dtype: torch.dtype) -> None:
    """The mathematics in float64, weight by weight; what float32 makes of it, in losses and as a whole."""
    model, twin = tiny_model(name), tiny_model(name)
    if dtype == torch.float64:
        model, twin = float64_copy(model), float64_copy(twin)
    fast, slow, worst, far = differences(
        model, twin, random_neurons(model, 4), list(batches(N_STEPS)), dtype, **ADAMW
    )
    loss = max(abs(a / b - 1) for a, b in zip(fast, slow, strict=True))
    print(f"\n{name}: loss {loss:.1e}, weight {worst:.1e}, apart {far:.1e} of the way")
    if dtype == torch.float64:
        assert loss < ROUNDED_64 and worst < ROUNDED_64
    else:
        assert loss < 1e-5 and far < APART_32


@pytest.mark.parametrize("name", FAMILIES)
def test_the_edit_is_the_trained_model_and_detaching_gives_the_base_back(name: str) -> None:
    """In float64, where what is added in another order is far below what a wrong value does."""
    model, ids = float64_copy(tiny_model(name)), next(batches(1))
    compact = CompactNeurons(model, random_neurons(model, 4), master_dtype=torch.float64)
    with torch.no_grad():
        base = model(input_ids=ids).logits
        with compact.attached():
            torch.testing.assert_close(model(input_ids=ids).logits, base, rtol=0, atol=1e-10)
        for value in compact.trained.values():
            value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(2)))
        with compact.attached():
            trained = model(input_ids=ids).logits
        with compact.to_edit("trained").applied(model):
            edited = model(input_ids=ids).logits
            with compact.attached():  # right whatever the base columns hold
                both = model(input_ids=ids).logits
        assert float((trained - base).abs().max()) > 0.1
        torch.testing.assert_close(trained, edited, rtol=0, atol=1e-10)
        torch.testing.assert_close(both, edited, rtol=0, atol=1e-10)
        assert torch.equal(model(input_ids=ids).logits, base)


def test_detaching_also_follows_an_exception_and_restores_what_required_gradients() -> None:
    model = tiny_model("qwen2").requires_grad_(False)
    model.lm_head.weight.requires_grad_(True)
    compact = CompactNeurons(model, random_neurons(model, 4))
    with pytest.raises(KeyboardInterrupt), compact.attached():
        assert not any(parameter.requires_grad for parameter in model.parameters())
        with pytest.raises(SetError, match="attached to their model already"), compact.attached():
            pass
        raise KeyboardInterrupt
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["model.embed_tokens.weight"]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", ["llama-gqa-tied", "gemma3", "phi3"])
def test_gradient_checkpointing_gives_equal_gradients(name: str) -> None:
    model, ids = tiny_model(name).train(), next(batches(1))
    compact, runs = CompactNeurons(model, random_neurons(model, 4)), []
    anatomy_of(model).layers(model)[0].mlp.register_forward_pre_hook(lambda *_: runs.append(1))
    found = []
    for _ in range(2):
        with compact.attached():
            loss_of(model, ids).backward()
        found.append([value.grad for value in compact.trained.values()])
        for value in compact.trained.values():
            value.grad = None
        model.gradient_checkpointing_enable({"use_reentrant": False})
    assert len(runs) == 3  # once, then once forward and once recomputed
    for plain, checkpointed in zip(*found, strict=True):
        assert plain is not None and checkpointed is not None and float(plain.abs().max()) > 0
        torch.testing.assert_close(checkpointed, plain, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", FAMILIES)
def test_bfloat16_base_with_float32_master_values(name: str) -> None:
    model, ids = tiny_model(name, spread=0.1).bfloat16(), next(batches(1))
    before = copy.deepcopy(model.state_dict())
    compact = CompactNeurons(model, random_neurons(model, 8))
    with compact.attached():
        losses = train(model, torch.optim.AdamW(compact.trained.values(), **ADAMW), iter([ids] * N_STEPS))
        with torch.no_grad():
            trained = model(input_ids=ids).logits
    assert losses[-1] < losses[0] - 0.05
    assert all(value.dtype == torch.float32 for value in compact.trained.values())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    edit = compact.to_edit()
    assert edit.values is not None and {value.dtype for value in edit.values.values()} == {torch.bfloat16}
    for key, value in edit.values.items():
        assert torch.equal(value, compact.trained[key].bfloat16()), key
    with edit.applied(model), torch.no_grad():
        edited = model(input_ids=ids).logits
        exact = float64_copy(model)(input_ids=ids).logits
    # What bfloat16 makes of one model, on this processor, is the measure of what it makes of two ways to it.
    noise = float((edited - exact).norm())
    assert 0 < noise < 0.1 * float(exact.norm()) and float((edited - trained).norm()) < 4 * noise


def test_only_compact_tensors_get_gradients_and_lower_layers_need_none() -> None:
    model, ids = tiny_model("llama-gqa-tied"), next(batches(1))
    neurons = random_neurons(model, 4, ("k", "ffn"), first_layer=1)
    compact, outputs = CompactNeurons(model, neurons), []
    for layer in anatomy_of(model).layers(model):
        layer.register_forward_hook(lambda module, args, output: outputs.append(output.requires_grad))
    with compact.attached():
        loss_of(model, ids).backward()
    assert outputs == [False, True, True]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(value.grad is not None for value in compact.trained.values())
    anatomy = anatomy_of(model)
    assert compact.n_trainable == 2 * 4 * 4 * anatomy.hidden_size  # k row, gate row, up row, down column
    values = WeightEdit.capture(neurons, model).values
    assert values is not None and set(values) == set(compact.trained)


def test_refuses_an_empty_set_another_model_and_coarse_master_values() -> None:
    model, other = tiny_model("llama-gqa-tied"), tiny_model("qwen3")
    anatomy = anatomy_of(model)
    with pytest.raises(SetError, match="empty"):
        CompactNeurons(model, NeuronSet.empty("tiny", anatomy.widths, anatomy.n_layers))
    with pytest.raises(SetError, match="give the model the set was made for"):
        CompactNeurons(model, random_neurons(other, 4))


@pytest.mark.parametrize("name", ["qwen2", "phi3"])
def test_weights_may_be_whole_only_around_each_modules_forward(name: str) -> None:
    model, ids = float64_copy(tiny_model(name)), next(batches(1))
    neurons = random_neurons(model, 4)
    with torch.no_grad(), WeightEdit.zero(neurons).applied(model):
        wanted = model(input_ids=ids).logits
    sharded = _Sharded(model)
    with pytest.raises(SetError, match="sharded"):
        CompactNeurons(model, neurons)
    compact = CompactNeurons(model, neurons, master_dtype=torch.float64, gather=sharded)
    assert sharded.largest <= 10
    with torch.no_grad(), compact.attached():
        for value in compact.trained.values():
            value.zero_()
        torch.testing.assert_close(model(input_ids=ids).logits, wanted, rtol=0, atol=1e-10)


class _Sharded:
    """Empties a model's parameters; they are whole in `with self(parameters)` and inside their module's own forward."""

    def __init__(self, model: Any) -> None:
        self.values = {parameter: parameter.data for parameter in model.parameters()}
        self.largest = 0
        self.free(self.values)
        for module in model.modules():
            own = list(module.parameters(recurse=False))
            if own:
                module.register_forward_pre_hook(lambda _, args, own=own: self.fill(own))
                module.register_forward_hook(lambda _, args, output, own=own: self.free(own))

    def fill(self, parameters: Any) -> None:
        for parameter in parameters:
            parameter.data = self.values[parameter]

    def free(self, parameters: Any) -> None:
        for parameter in parameters:
            parameter.data = torch.empty(0)

    @contextmanager
    def __call__(self, parameters: Any) -> Iterator[None]:
        self.largest = max(self.largest, len(parameters))
        self.fill(parameters)
        yield
        self.free(parameters)


@pytest.mark.slow
def test_smollm2_50_steps() -> None:
    model, twin = load_model(smollm2_gguf())[0], load_model(smollm2_gguf())[0]
    neurons = chosen_share(model, 0.005)
    data = list(batches(50, model.config.vocab_size, (2, 32)))
    settings = dict(lr=1e-4, weight_decay=0.1)
    fast, slow, worst, far = differences(model, twin, neurons, data, torch.float32, **settings)
    loss = max(abs(a - b) for a, b in zip(fast, slow, strict=True))
    print(
        f"\nSmolLM2-135M, {len(neurons)} neurons: loss {loss:.1e} nats of {slow[0]:.2f}, weight {worst:.1e}, "
        f"apart {far:.1e} of the way"
    )
    assert loss < 1e-4 and far < APART_32


def chosen_share(model: Any, share: float) -> NeuronSet:
    """Random neurons of q, k, v and ffn, the same share of each in each layer."""
    anatomy, rng = anatomy_of(model), np.random.default_rng(0)
    indices = {
        (layer, group): rng.choice(width, max(1, round(share * width)), replace=False)
        for layer in range(anatomy.n_layers)
        for group, width in anatomy.widths.items()
        if group != "o"
    }
    return NeuronSet.from_indices("model", anatomy.widths, anatomy.n_layers, indices)
