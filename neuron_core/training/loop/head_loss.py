"""The loss over the vocabulary without the logits of a whole batch.

Shapes: N predicted positions, d hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.passes.limits import TRAINING_LOGIT_BYTES


def summed_head_loss(model: nn.Module, hidden: Tensor, labels: Tensor) -> Tensor:
    """The summed negative log likelihood in nats, float32, of `labels` int64 [N] given final hidden states [N, d].

    The head of `model` must be frozen: then the gradient of the hidden states is all that the backward pass needs, so it
    is computed with each chunk of positions in the forward pass, and no logits are kept or computed again.
    """
    config: Any = model.config.get_text_config()  # type: ignore[union-attr, operator]
    cap = anatomy_of(model.config).logit_cap
    n_chunk = max(1, TRAINING_LOGIT_BYTES // (4 * config.vocab_size))
    loss: Tensor = _HeadLoss.apply(hidden, labels, model.get_output_embeddings(), cap, n_chunk)  # type: ignore[operator]
    return loss


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, labels: Tensor, head: nn.Module, cap: float | None, n_chunk: int
    ) -> Tensor:
        d_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for start in range(0, len(labels), n_chunk):
            chunk = slice(start, start + n_chunk)
            with torch.set_grad_enabled(d_hidden is not None):
                part = hidden[chunk].detach().requires_grad_(d_hidden is not None)
                logits = head(part)
                if cap is not None:
                    logits = cap * torch.tanh(logits / cap)
                loss = cross_entropy(logits.float(), labels[chunk], reduction="sum")
            if d_hidden is not None:
                (d_hidden[chunk],) = torch.autograd.grad(loss, part)
            total += loss.detach()
        ctx.save_for_backward(d_hidden)
        return total

    @staticmethod
    def backward(ctx: Any, d_total: Tensor) -> tuple[Tensor, None, None, None, None]:  # type: ignore[override]
        (d_hidden,) = ctx.saved_tensors
        return d_total.to(d_hidden.dtype) * d_hidden, None, None, None, None
