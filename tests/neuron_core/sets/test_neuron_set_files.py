"""A set comes back from every kind of file, and a file that is none is named."""

from pathlib import Path

import pytest

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.neuron_set_files import SUFFIXES

WIDTHS = {"q": 4, "ffn": 9}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("places", [{}, {(0, "ffn"): [8, 0], (2, "q"): [3]}])
def test_a_set_comes_back(tmp_path: Path, suffix: str, places: dict[tuple[int, str], list[int]]) -> None:
    neurons = NeuronSet.from_indices("a model, with commas", WIDTHS, 3, places)
    read = NeuronSet.load(neurons.save(tmp_path / f"set{suffix}"))
    assert read == neurons and (read.widths, read.n_layers) == (WIDTHS, 3)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "layer,group,neuron\n0,q,1\n", "# polyneuron neuron set {}\n1\n"]
)
def test_what_is_no_set_is_named(tmp_path: Path, suffix: str, content: str) -> None:
    path = tmp_path / f"set{suffix}"
    path.write_text(content)
    with pytest.raises(SetError, match=path.name):
        NeuronSet.load(path)


def test_another_suffix_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(SetError, match=".parquet, .json, .csv"):
        NeuronSet.empty("m", WIDTHS, 3).save(tmp_path / "set.txt")
