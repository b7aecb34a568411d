"""Frozen linears keep nothing for their backward pass, and their gradients are those of torch."""

from typing import Any

import pytest
import torch
from torch import nn

from polyneuron.cluster.ranks.frozen_linears import frozen_linears


class TwoLinears(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.frozen, self.trained = nn.Linear(5, 7, bias), nn.Linear(7, 3, bias)
        self.frozen.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.trained(self.frozen(x))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_torchs_and_the_weight_may_go_in_between(bias: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = TwoLinears(bias).to(dtype)
    x = torch.randn(2, 4, 5, dtype=dtype, requires_grad=True)
    d_output = torch.randn(2, 4, 3, dtype=dtype)
    (expected,) = torch.autograd.grad(model(x), x, d_output)
    saved: list[Any] = []
    with frozen_linears(model):
        with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda _: None):
            model.frozen(x)
        assert not saved
        output = model(x)
        weight, model.frozen.weight.data = model.frozen.weight.data, torch.empty(0, dtype=dtype)
        model.frozen.weight.data = weight.clone()  # sharded in between, and gathered again
        weight.zero_()
        (found,) = torch.autograd.grad(output, x, d_output)
    assert torch.equal(found, expected)


def test_what_trains_and_what_comes_after_is_torchs_own() -> None:
    model = TwoLinears(bias=True)
    with frozen_linears(model):
        model(torch.randn(4, 5)).sum().backward()
    assert model.trained.weight.grad is not None
    assert "forward" not in vars(model.frozen)
