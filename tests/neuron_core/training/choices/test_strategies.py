"""Which neurons each strategy trains, and what the score chooses."""

import math

import pytest

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.training.choices.names import HIGH_SCORE
from polyneuron.neuron_core.training.choices.strategies import choose, neurons_to_train, random_neurons

WIDTHS = {"q": 8, "ffn": 16}


def made(*ffn: int) -> NeuronSet:
    return NeuronSet.from_indices("m", WIDTHS, 2, {(0, "ffn"): list(ffn)} if ffn else {})


SHARED = made(1, 2)
RELATED = {"en": made(1, 2, 3), "sw": made(1, 2, 4, 5)}
ALL = NeuronSet.from_indices("m", WIDTHS | {"o": 8}, 2, {(layer, "o"): range(8) for layer in range(2)})


def test_the_score_chooses() -> None:
    assert choose("auto", 0.5).strategy == "related"
    assert choose("auto", 2.0).strategy == "shared"
    assert choose("auto", 9.0).strategy == "exclusive"
    assert "9.00 is high" in choose("auto", 9.0).reason
    assert choose("auto", 9.0, low=1, high=10).strategy == "shared"
    assert math.isclose(HIGH_SCORE, 4.615, abs_tol=1e-3)


def test_auto_without_a_score_says_what_to_do() -> None:
    with pytest.raises(SetError, match="name a strategy"):
        choose("auto", None)
    with pytest.raises(ValueError, match="above the high one"):
        choose("auto", 1.0, low=3, high=2)


def test_sets() -> None:
    assert neurons_to_train("shared", ("sw",), SHARED, RELATED, ALL) == SHARED
    assert neurons_to_train("exclusive", ("sw",), SHARED, RELATED, ALL) == made(4, 5)
    assert neurons_to_train("related", ("sw",), SHARED, RELATED, ALL) == RELATED["sw"]
    assert neurons_to_train("exclusive", ("en", "sw"), SHARED, RELATED, ALL) == made(3, 4, 5)
    assert neurons_to_train("full", ("sw",), SHARED, RELATED, ALL) == ALL
    assert neurons_to_train("lora", ("sw",), SHARED, RELATED, ALL) == ALL


@pytest.mark.parametrize("target", [SHARED, made(4, 5, 3), RELATED["sw"]])
def test_random_neurons_match_layer_and_group_and_avoid_all_sets(target: NeuronSet) -> None:
    drawn = random_neurons(target, RELATED.values(), 3).neurons
    assert drawn.places() == ((0, "ffn"),) and len(drawn) == len(target)
    assert not set(drawn.indices(0, "ffn").tolist()) & {1, 2, 3, 4, 5}
    assert drawn != random_neurons(target, RELATED.values(), 4).neurons


def test_where_too_few_neurons_are_free_these_are_drawn() -> None:
    drawn = random_neurons(RELATED["sw"], [made(*range(3, 14))], 0)
    assert (drawn.neurons, drawn.n_asked) == (made(0, 14, 15), 4)
    with pytest.raises(SetError, match="No neuron is left for a random control"):
        random_neurons(RELATED["sw"], [made(*range(16))], 0)


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(SetError, match="no neuron to train for sw"):
        neurons_to_train("exclusive", ("sw",), SHARED, {"sw": SHARED}, ALL)
    with pytest.raises(SetError, match="No sets of fr"):
        neurons_to_train("shared", ("fr",), SHARED, RELATED, ALL)
    for unresolved in ("random", "auto"):
        with pytest.raises(SetError, match="no neurons of its own"):
            neurons_to_train(unresolved, ("sw",), SHARED, RELATED, ALL)  # type: ignore[arg-type]
