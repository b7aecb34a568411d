"""Frozen linears under ZeRO-3: the backward pass uses the weight that is gathered then, not the one of the forward pass.

torch's linear keeps a view of its weight for the backward pass. Of a gathered weight that is the whole tensor, so after the
forward pass every rank would hold the whole model. DeepSpeed's remedy (`memory_efficient_linear`) replaces torch's linear
for the rest of the process and keeps the input too, which only the gradient of a weight needs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class _FrozenLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: nn.Parameter, bias: nn.Parameter | None) -> Tensor:
        # The parameter itself, whose data DeepSpeed frees and gathers again before this backward.
        ctx.weight = weight
        return functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return d_output @ ctx.weight, None, None


def _forward(linear: nn.Linear, x: Tensor) -> Any:
    return _FrozenLinear.apply(x, linear.weight, linear.bias)  # type: ignore[no-untyped-call]


@contextmanager
def frozen_linears(model: nn.Module) -> Iterator[None]:
    """Inside, linears of `model` none of whose parameters train keep nothing for their backward pass."""
    linears = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear) and not any(p.requires_grad for p in module.parameters())
    ]
    for linear in linears:
        linear.forward = partial(_forward, linear)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for linear in linears:
            del linear.forward
