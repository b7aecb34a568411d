"""What an activation function can give at least: SiLU never less than -0.2785, GELU never less than -0.1700."""

import functools

import torch

from polyneuron.neuron_core.common.errors import ConfigError

_FROM, _STEPS = -20.0, 400_001


@functools.cache
def lowest_output(activation: str) -> float:
    """The minimum of an activation function, by its name in transformers (`config.hidden_act`: "silu",
    "gelu_pytorch_tanh"), to 1e-8. Searched where the minima of the functions in use lie, from -20 to 0. Raises ConfigError
    when transformers has no function of that name."""
    from transformers.activations import ACT2CLS, ACT2FN

    if activation not in ACT2CLS:
        raise ConfigError(f"There is no activation function {activation!r}; there are {', '.join(ACT2CLS)}")
    return float(ACT2FN[activation](torch.linspace(_FROM, 0, _STEPS, dtype=torch.float64)).min())
