"""The words of interventions: what is done to an activation, with which constants, measured where. Imports nothing heavy."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from polyneuron.neuron_core.activations.names import Site, Statistic

Operation = Literal["set", "scale", "shift"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)

Constant = Literal["zero", Statistic]
"""What activations are set to: zero, or a statistic of each neuron."""

Mode = Literal["matched", "as_published"]
"""Whether statistics are measured where they are written, or as paper B did; see `SITES_OF`."""


class Sites(NamedTuple):
    """Where the constants of an intervention were measured, and where they are written."""

    statistic: Site
    write: Site


SITES_OF: Mapping[Mode, Sites] = {
    "matched": Sites("matched", "matched"),
    "as_published": Sites("pre_activation", "matched"),
}
"""By mode. Paper B measures before the activation function and writes after it, so it also writes values that the
model can never produce."""
