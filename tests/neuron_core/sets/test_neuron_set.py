"""NeuronSet: algebra as of Python sets, files that come back equal."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.sets.neuron_set import NeuronSet

WIDTHS = {"q": 8, "k": 4, "v": 4, "ffn": 12}
LAYERS = 3


def make(indices: dict, model: str = "m") -> NeuronSet:
    return NeuronSet.from_indices(model, WIDTHS, LAYERS, indices)


NEURONS = st.sets(
    st.sampled_from(
        [
            (layer, group, n)
            for layer in range(LAYERS)
            for group, width in WIDTHS.items()
            for n in range(width)
        ]
    ),
    max_size=30,
)


def of(neurons: set) -> NeuronSet:
    keys = {(layer, group) for layer, group, _ in neurons}
    return make({key: [n for layer, group, n in neurons if (layer, group) == key] for key in keys})


@settings(max_examples=30)
@given(NEURONS, NEURONS)
def test_algebra_is_that_of_python_sets(a: set, b: set) -> None:
    assert set(of(a) | of(b)) == a | b
    assert set(of(a) & of(b)) == a & b
    assert set(of(a) - of(b)) == a - b
    assert (of(a) == of(b)) == (a == b)
    assert len(of(a)) == len(a)
    assert all((neuron in of(a)) == (neuron in a) for neuron in a | b)
    assert NeuronSet.from_arrow(of(a).to_arrow()) == of(a)


def test_counts_by_hand() -> None:
    found = make({(2, "ffn"): [5, 1, 5], (0, "q"): range(3), (1, "k"): []})
    assert found.indices(2, "ffn").tolist() == [1, 5] and found.indices(2, "ffn").dtype == np.int64
    assert list(found) == [(0, "q", 0), (0, "q", 1), (0, "q", 2), (2, "ffn", 1), (2, "ffn", 5)]
    assert found.counts() == {"q": 3, "k": 0, "v": 0, "ffn": 2}
    assert found.counts_by_layer()[0, "q"] == 3 and sum(found.counts_by_layer().values()) == 5
    assert found.restrict(["q"]) == make({(0, "q"): [0, 1, 2]})
    assert found.restrict([]) == NeuronSet.empty("m", WIDTHS, LAYERS)


def test_sets_cannot_be_changed() -> None:
    found = make({(0, "q"): [1]})
    with pytest.raises(ValueError, match="read-only"):
        found.indices(0, "q")[0] = 3
    with pytest.raises(TypeError):
        found.widths["q"] = 9  # type: ignore[index]


def test_caller_keeps_its_own_array() -> None:
    mine = np.array([3, 1])
    found = make({(0, "q"): mine})
    mine[0] = 7
    assert found.indices(0, "q").tolist() == [1, 3]


@pytest.mark.parametrize(
    ("indices", "words"),
    [
        ({(0, "q"): [8]}, "index 8 is outside 0 to 7"),
        ({(0, "q"): [-1]}, "index -1"),
        ({(3, "q"): [0]}, "layers 0 to 2"),
        ({(0, "o"): [0]}, "widths hold only"),
        ({(0, "q"): [0.5]}, "whole numbers"),
    ],
)
def test_indices_outside_the_model_are_refused(indices: dict, words: str) -> None:
    with pytest.raises(SetError, match=words):
        make(indices)


def test_sets_of_two_models_do_not_mix() -> None:
    with pytest.raises(SetError, match="'m'.*'other'"):
        make({(0, "q"): [1]}) | make({(0, "q"): [1]}, model="other")
    wider = NeuronSet.from_indices("m", {**WIDTHS, "q": 16}, LAYERS, {})
    with pytest.raises(SetError, match="8 neurons a layer in one and 16"):
        make({}) & wider
    assert make({}) != wider


def test_a_set_may_know_fewer_groups() -> None:
    narrow = NeuronSet.from_indices("m", {"q": 8}, LAYERS, {(0, "q"): [1]})
    assert (narrow | make({(1, "ffn"): [2]})).widths == WIDTHS


def test_file_round_trip_and_bad_files(tmp_path) -> None:
    found = make({(2, "ffn"): [5, 1], (0, "q"): [7]})
    again = NeuronSet.load(found.save(tmp_path / "set.parquet"))
    assert again == found and again.widths == WIDTHS and again.n_layers == LAYERS
    assert [path.name for path in tmp_path.iterdir()] == ["set.parquet"]
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "set.parquet").read_bytes()[:40])
    for name in ("cut.parquet", "absent.parquet"):
        with pytest.raises(SetError, match=name):
            NeuronSet.load(tmp_path / name)
    with pytest.raises(SetError, match="cannot be written"):
        found.save(tmp_path / "no" / "set.parquet")


def test_store_rows_without_metadata_need_the_shape() -> None:
    rows = pa.table({"group": ["ffn", "q", "ffn"], "layer": [1, 0, 1], "neuron": [4, 2, 3]})
    with pytest.raises(SetError, match="which model"):
        NeuronSet.from_arrow(rows)
    assert NeuronSet.from_arrow(rows, "m", WIDTHS, LAYERS) == make({(1, "ffn"): [3, 4], (0, "q"): [2]})


def test_equal_sets_have_equal_hashes_and_survive_pickling() -> None:
    a, b = make({(0, "q"): [1, 2]}), make({(0, "q"): [2, 1, 1], (1, "k"): []})
    assert a == b and hash(a) == hash(b) and a.fingerprint() == b.fingerprint()
    assert pickle.loads(pickle.dumps(a)) == a
    assert a.fingerprint() != make({(0, "q"): [1, 3]}).fingerprint()
    assert a.fingerprint() != make({(1, "q"): [1, 2]}).fingerprint()
