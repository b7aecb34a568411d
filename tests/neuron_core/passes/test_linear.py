"""Linear layers through oneDNN: the same layers as PyTorch's within float32's rounding, on whatever processor runs the tests."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from polyneuron.neuron_core.measures.perplexity import sentence_nlls
from polyneuron.neuron_core.passes import linear
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from polyneuron.neuron_core.training.loop import stepper
from polyneuron.neuron_core.training.loop.recompute import recompute_layers
from polyneuron.neuron_core.training.loop.stepper import summed_loss
from tests.neuron_core.training.plain_batches import PlainBatch
from tests.tiny_models import tiny_model

pytestmark = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this PyTorch was built without oneDNN"
)


@pytest.fixture
def faster(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Makes every processor one on which oneDNN is faster; holds the shape of each weight that it is given."""
    given, product = list[tuple[int, ...]](), linear._product

    def counted(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        given.append(tuple(weight.shape))
        return product(input, weight, bias)

    monkeypatch.setattr(linear, "_is_faster", lambda: True)
    monkeypatch.setattr(linear, "_product", counted)
    return given


def rounding(*tensors: Tensor) -> float:
    """What a sum of float32 products may be off by: each of its terms once, and once more for each addition."""
    input, weight = tensors[:2]
    largest = float(input.abs().max() * weight.abs().max())
    return torch.finfo(torch.float32).eps * input.shape[-1] * largest * 2


@settings(max_examples=40)
@given(
    rows=st.lists(st.integers(1, 5), min_size=0, max_size=3),
    sizes=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    has_bias=st.booleans(),
    strided=st.booleans(),
    seed=st.integers(0, 999),
)
def test_it_is_the_linear_layer(
    rows: list[int], sizes: tuple[int, int], has_bias: bool, strided: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    K, N = sizes
    input = torch.randn(*rows, K, generator=generator)
    weight = torch.randn(K, N, generator=generator).mT if strided else torch.randn(N, K, generator=generator)
    bias = torch.randn(N, generator=generator) if has_bias else None
    expected = nn.functional.linear(input.double(), weight.double(), None if bias is None else bias.double())
    tracked = [each.clone().requires_grad_() for each in (input, weight, *([] if bias is None else [bias]))]
    with linear._OneDnn():
        found = nn.functional.linear(input, weight, bias)
        differentiable = nn.functional.linear(*tracked)
    assert found.shape == expected.shape and found.dtype == torch.float32
    assert float((found - expected).abs().max()) <= rounding(input, weight) + 1e-6
    assert torch.equal(found, differentiable)
    pull = torch.randn(expected.shape, generator=generator)
    wide = [each.detach().double().requires_grad_() for each in tracked]
    nn.functional.linear(*wide).backward(pull.double())
    differentiable.backward(pull)
    for own, other in zip(tracked, wide, strict=True):
        assert own.grad is not None and other.grad is not None
        assert torch.allclose(own.grad.double(), other.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_types_stay_pytorchs(dtype: torch.dtype, faster: list[tuple[int, ...]]) -> None:
    input, weight = torch.randn(3, 8).to(dtype), torch.randn(4, 8).to(dtype)
    with linear.fast_linear():
        found = nn.functional.linear(input, weight)
    assert torch.equal(found, nn.functional.linear(input, weight)) and not faster


def test_no_rows_stay_pytorchs(faster: list[tuple[int, ...]]) -> None:
    with linear.fast_linear():
        assert nn.functional.linear(torch.zeros(0, 8), torch.zeros(4, 8)).shape == (0, 4)
    assert not faster


def test_what_is_not_finite_stays_so() -> None:
    weight = torch.ones(2, 3)
    with linear._OneDnn():
        found = nn.functional.linear(torch.tensor([[torch.nan, 1, 1], [torch.inf, 1, 1]]), weight)
    assert found[0].isnan().all() and found[1].isposinf().all()


@pytest.mark.parametrize("family", ["llama-gqa-tied", "gemma3", "qwen2"])
def test_every_projection_of_a_pass_goes_through_it(family: str, faster: list[tuple[int, ...]]) -> None:
    model = tiny_model(family)
    batches = micro_batches(
        [Sentence(language="aa", index=i, token_ids=tuple(range(3, 9 + i))) for i in range(3)], 2
    )
    (rows,) = sentence_nlls(LayerMajor(model), batches, [None])
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    assert len(faster) == len(weights) * len(batches)
    assert set(faster) == {tuple(weight.shape) for weight in weights}
    (exact,) = sentence_nlls(LayerMajor(model.double()), batches, [None])
    for row, true in zip(rows, exact, strict=True):
        assert row.nll_nats == pytest.approx(true.nll_nats, rel=1e-5)


def test_a_training_step_has_the_gradients_of_float64(
    faster: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = PlainBatch(torch.arange(3, 43).view(4, 10))

    def gradients(dtype: torch.dtype, recomputed: float) -> dict[str, Tensor]:
        model = tiny_model("qwen2").to(dtype)
        model.get_output_embeddings().requires_grad_(False)
        recompute_layers(model, recomputed)
        summed_loss(model, batch).backward()
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    kept = gradients(torch.float32, 0)
    n_kept = len(faster)
    again = gradients(torch.float32, 1)
    layers = tiny_model("qwen2").get_decoder().layers
    n_layers_linear = sum(isinstance(module, nn.Linear) for module in layers.modules())
    assert len(faster) - 2 * n_kept == n_layers_linear  # computed again the same way
    assert all(torch.equal(gradient, again[name]) for name, gradient in kept.items())
    monkeypatch.setattr(stepper, "fast_linear", nullcontext)
    exact = gradients(torch.float64, 0)
    assert kept.keys() == exact.keys()
    for name, gradient in kept.items():
        most = float(exact[name].abs().max())
        assert torch.allclose(gradient.double(), exact[name], rtol=1e-4, atol=1e-5 * most)
