"""Models that a user holds and hands over: what can be measured is measured as a model that `load_model` gives would be, and
handed back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from torch import nn

from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.whole import require_whole
from polyneuron.neuron_core.passes.layer_major import attention_replaced


@contextmanager
def measured(model: nn.Module) -> Iterator[None]:
    """Inside, `model` computes without dropout and with its caps on attention scores, which fused attention ignores. After,
    every module is in the mode it was in, and attention is what it was. Raises as `require_whole`."""
    require_whole(model)
    training = [module for module in model.modules() if module.training]
    anatomy, config = anatomy_of(model), model.config.get_text_config()  # type: ignore[union-attr, operator]
    ignores_cap = anatomy.score_cap is not None and "sdpa" in str(config._attn_implementation)
    try:
        for module in training:
            module.training = False
        with attention_replaced(model, "eager") if ignores_cap else nullcontext():
            yield
    finally:
        for module in training:
            module.training = True
