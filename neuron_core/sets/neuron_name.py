"""What a neuron is called: its layer, group and index in one word, written and read in this file alone."""

from __future__ import annotations

import re
from typing import NamedTuple

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.model.groups import GROUPS

_NAME = re.compile(rf"L(\d{{1,9}})\.({'|'.join(GROUPS)})\.(\d{{1,9}})", re.ASCII)


class NeuronName(NamedTuple):
    """One neuron of a model, in the order in which a `NeuronSet` yields them; `str` gives `L11.ffn.1229`."""

    layer: int
    group: str
    neuron: int

    def __str__(self) -> str:
        return f"L{self.layer}.{self.group}.{self.neuron}"

    @staticmethod
    def parse(text: str) -> NeuronName:
        """The neuron that a text names. Raises SetError where it names none."""
        found = _NAME.fullmatch(text)
        if found is None:
            raise SetError(
                f"{text!r} names no neuron: write its layer, group ({', '.join(GROUPS)}) and index, as in L11.ffn.1229"
            )
        return NeuronName(int(found[1]), found[2], int(found[3]))
