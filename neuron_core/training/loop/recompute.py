"""Memory for time: layers whose activations are computed again in the backward pass (Chen et al. 2016)."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from polyneuron.neuron_core.passes.linear import fast_linear


def recompute_layers(model: Any, share: float) -> None:
    """From now on `share` of the decoder layers, evenly spread, keep their input only until the backward pass. Gradients
    are the same. The model is put in training mode, in which transformers recomputes; the supported families have no
    dropout."""
    if not share:
        return
    model.gradient_checkpointing_enable({"use_reentrant": False, "context_fn": _contexts})
    model.train()
    layers = model.get_decoder().layers
    n_chosen = round(share * len(layers))
    chosen = {place * len(layers) // n_chosen for place in range(n_chosen)}
    for index, layer in enumerate(layers):
        layer.gradient_checkpointing = index in chosen


def _contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Of the forward pass, which has what a step has, and of computing it again, which must round as it did."""
    return nullcontext(), fast_linear()
