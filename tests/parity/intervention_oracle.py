"""The slow oracle of interventions: the feed-forward block computed anew by hand, one neuron after the other.

Shares nothing with `polyneuron.neuron_core.edits.intervention` but the constants: no hook is on the activation function.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from polyneuron.neuron_core.edits.intervention import Intervention
from polyneuron.neuron_core.model.anatomy import anatomy_of


@torch.no_grad()
def oracle_logits(model: Any, ids: Tensor, change: Intervention) -> Tensor:
    """Logits of the model with the intervention."""
    anatomy, config = anatomy_of(model), model.config.get_text_config()
    name = getattr(config, "hidden_activation", None) or config.hidden_act

    def replaced(layer: int) -> Any:
        def hook(mlp: Any, args: Any, output: Tensor) -> Tensor:
            x = args[0]
            if anatomy.family.fused:
                gate, up = mlp.gate_up_proj(x).split(anatomy.ffn_width, -1)
            else:
                gate, up = mlp.gate_proj(x), mlp.up_proj(x)
            activation = F.silu(gate) if name == "silu" else F.gelu(gate, approximate="tanh")
            neurons = change.neuron_set.indices(layer, "ffn")
            for neuron, constant in zip(neurons, change.constants[layer].tolist(), strict=True):
                before = activation[..., neuron].clone()
                after = {"set": 0 * before + constant, "scale": before * constant, "shift": before + constant}
                activation[..., neuron] = after[change.operation]
            return mlp.down_proj(activation * up)

        return hook

    layers = anatomy.layers(model)
    handles = [layers[layer].mlp.register_forward_hook(replaced(layer)) for layer in change.constants]
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    for handle in handles:
        handle.remove()
    return logits
