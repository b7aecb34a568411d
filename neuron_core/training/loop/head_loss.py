"""The loss over the vocabulary without the logits of a whole batch.

Shapes: N predicted positions, d hidden size, V vocabulary.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from polyneuron.neuron_core.passes.limits import TRAINING_LOGIT_BYTES


def summed_head_loss(model: nn.Module, hidden: Tensor, labels: Tensor) -> Tensor:
    """The summed negative log likelihood in nats, float32 (float64 of float64 states), of `labels` int64 [N] given final
    hidden states [N, d]. The head of `model` must be frozen: then the gradient of the hidden states is all that the backward
    pass needs, so it is computed with each chunk of positions in the forward pass, and no logits are kept or computed again."""
    config: Any = model.config.get_text_config()  # type: ignore[union-attr, operator]
    head: Any = model.get_output_embeddings()  # type: ignore[operator]
    cap = getattr(config, "final_logit_softcapping", None)

    def logits_of(chunk: Tensor) -> Tensor:
        logits: Tensor = head(chunk)
        return logits if cap is None else cap * torch.tanh(logits / cap)

    n_chunk = max(1, TRAINING_LOGIT_BYTES // (4 * config.vocab_size))
    loss: Tensor = _HeadLoss.apply(hidden, labels, logits_of, n_chunk)
    return loss


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, labels: Tensor, logits_of: Callable[[Tensor], Tensor], n_chunk: int
    ) -> Tensor:
        d_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        wide = torch.promote_types(hidden.dtype, torch.float32)
        total = torch.zeros((), dtype=wide, device=hidden.device)
        for start in range(0, len(labels), n_chunk):
            chunk = slice(start, start + n_chunk)
            with torch.set_grad_enabled(d_hidden is not None):
                part = hidden[chunk].detach().requires_grad_(d_hidden is not None)
                loss = cross_entropy(logits_of(part).to(wide), labels[chunk], reduction="sum")
            if d_hidden is not None:
                (d_hidden[chunk],) = torch.autograd.grad(loss, part)
            total += loss.detach()
        ctx.save_for_backward(d_hidden)
        return total

    @staticmethod
    def backward(ctx: Any, d_total: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        (d_hidden,) = ctx.saved_tensors
        return d_total.to(d_hidden.dtype) * d_hidden, None, None, None
