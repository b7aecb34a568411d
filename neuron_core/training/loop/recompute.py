"""Memory for time: layers whose activations are computed again in the backward pass (Chen et al. 2016)."""

from typing import Any


def recompute_layers(model: Any, share: float) -> None:
    """From now on `share` of the decoder layers, evenly spread, keep their input only until the backward pass. Gradients
    are the same. The model is put in training mode, in which transformers recomputes; the supported families have no
    dropout."""
    if not share:
        return
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    layers = model.get_decoder().layers
    n_chosen = round(share * len(layers))
    chosen = {place * len(layers) // n_chosen for place in range(n_chosen)}
    for index, layer in enumerate(layers):
        layer.gradient_checkpointing = index in chosen
