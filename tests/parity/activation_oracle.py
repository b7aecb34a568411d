"""The slow oracle of activations: plain hooks on the whole model, one unpadded sentence at a time.

The output of the gate projection is hooked, and the activation function is applied to it here: nothing is shared
with `neuron_core.activations` but the tokens.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.passes.batches import Sentence


def oracle_activations(model: Any, sentences: Sequence[Sentence], site: str) -> list[Tensor]:
    """Per layer [n, I], float64: activations of the scored tokens of all sentences."""
    anatomy = anatomy_of(model)
    fused = anatomy.family.fused
    gates: list[list[Tensor]] = [[] for _ in range(anatomy.n_layers)]
    handles = []
    for found, layer in zip(gates, anatomy.layers(model), strict=True):
        projection = layer.mlp.gate_up_proj if fused else layer.mlp.gate_proj
        keep = lambda module, args, output, found=found: found.append(output[0, :, : anatomy.ffn_width])  # noqa: E731
        handles.append(projection.register_forward_hook(keep))
    with torch.no_grad():
        for sentence in sentences:
            model(input_ids=torch.tensor([sentence.token_ids]), use_cache=False)
    for handle in handles:
        handle.remove()
    gate_of = [
        torch.cat([gate[s.n_unscored :] for gate, s in zip(found, sentences, strict=True)]).double()
        for found in gates
    ]
    if site == "pre_activation":
        return gate_of
    config = model.config.get_text_config()
    name = getattr(config, "hidden_activation", None) or config.hidden_act
    return [F.silu(gate) if name == "silu" else F.gelu(gate, approximate="tanh") for gate in gate_of]
