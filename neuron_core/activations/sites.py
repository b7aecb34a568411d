"""Where an activation is read: hooks on a layer's activation function.

`matched` reads its output, act(gate): the value that LAPE counts and that an intervention overwrites.
`pre_activation` reads its input, the output of gate_proj: where the statistics of paper B were taken, although it
writes them back to the output, which cannot take such values (SiLU is never below -0.2785, their P5 is near -0.79).
Nothing here asks for a gate: in a feed-forward block without one the input is the output of the up projection.
Shapes: B sentences, T tokens, I feed-forward width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from polyneuron.neuron_core.activations.names import Site
from polyneuron.neuron_core.model.anatomy import Anatomy


@dataclass
class ActivationRecord:
    """The activations [B, T, I] of the last run of the layer, in the model's dtype."""

    values: Tensor | None = None

    def scored(self, scored_BT: Tensor) -> Tensor:
        """The activations of the n scored tokens, [n, I], of bool [B, T]; the layer must have run."""
        assert self.values is not None, "the layer's activation function was not called"
        return self.values[scored_BT.to(self.values.device)]


@contextmanager
def recorded_activations(layer: nn.Module, anatomy: Anatomy, site: Site) -> Iterator[ActivationRecord]:
    """Records the activations of each run of `layer`; the hook is gone when the context is left. Raises AttributeError when
    the activation function that the anatomy declares does not exist."""
    record = ActivationRecord()

    def keep(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        record.values = output if site == "matched" else args[0]

    activation = layer.get_submodule(anatomy.family.mlp).get_submodule(anatomy.family.activation)
    handle = activation.register_forward_hook(keep)
    try:
        yield record
    finally:
        handle.remove()
