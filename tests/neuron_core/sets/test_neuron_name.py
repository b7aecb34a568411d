"""Names of neurons are read as they are written, and nothing else is a name."""

import pytest

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.sets.neuron_name import NeuronName


@pytest.mark.parametrize("group", GROUPS)
def test_a_name_is_read_as_it_is_written(group: str) -> None:
    neuron = NeuronName(11, group, 1229)
    assert str(neuron) == f"L11.{group}.1229" and NeuronName.parse(str(neuron)) == neuron == (11, group, 1229)


@pytest.mark.parametrize(
    "text", ["", "L11.ffn", "11.ffn.1", "L1.gate.1", "L-1.q.1", "L1.q.1 ", "L1.q.1.2", "l1.q.1", "L１.q.1"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SetError, match=r"L11\.ffn\.1229"):
        NeuronName.parse(text)
