"""Linear layers in float32 on AMD's processors, through oneDNN.

PyTorch gives them to MKL, which takes about twice as long there (decision 0020). Both sum in float32, each in an order of its
own. Other types, devices and processors stay as PyTorch has them.
Shapes: K inputs and N outputs of a layer.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

_MAKER = "AuthenticAMD"


def fast_linear() -> AbstractContextManager[Any]:
    """Inside, `torch.nn.functional.linear` is computed by oneDNN where that is faster and the tensors allow it."""
    return _OneDnn() if _is_faster() else nullcontext()


@functools.cache
def _is_faster() -> bool:
    maker = platform.processor()
    with suppress(OSError):
        maker += Path("/proc/cpuinfo").read_text(errors="replace").partition("\n\n")[0]
    return (
        _MAKER in maker
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


class _OneDnn(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (_linear if func is nn.functional.linear else func)(*args, **(kwargs or {}))


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    tensors = [input, weight, *([] if bias is None else [bias])]
    if not _fit(tensors):
        return nn.functional.linear(input, weight, bias)
    if torch.is_grad_enabled() and any(each.requires_grad for each in tensors):
        result: Tensor = _Differentiable.apply(input, weight, bias)
        return result
    return _product(input, weight, bias)


def _fit(tensors: Sequence[Tensor]) -> bool:
    return all(
        each.dtype == torch.float32
        and each.device.type == "cpu"
        and each.layout == torch.strided
        and each.numel() > 0
        for each in tensors
    )


def _product(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input` [..., K] through `weight` [N, K] and `bias` [N], [..., N]."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(
        input, weight, bias, attr="none", scalars=[], algorithm=""
    )
    return result


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input if ctx.needs_input_grad[1] else None, weight)
        return _product(input, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        input, weight = ctx.saved_tensors
        d_output = d_output.contiguous()
        rows = d_output.reshape(-1, d_output.shape[-1])
        wants_input, wants_weight, wants_bias = ctx.needs_input_grad
        return (
            _product(d_output, weight.mT) if wants_input else None,
            _product(rows.mT, input.reshape(-1, input.shape[-1]).mT) if wants_weight else None,
            rows.sum(0) if wants_bias else None,
        )
