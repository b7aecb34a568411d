"""Controls: as many as the set in every place, outside it, by seed; partners that are the nearest; and too few free neurons."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.sets.controls import (
    MIN_NEAREST,
    Control,
    distinct,
    impact_control,
    language_control,
    matched_control,
    random_control,
)
from polyneuron.neuron_core.sets.neuron_set import NeuronSet

WIDTHS = {"q": 8, "k": 4, "v": 4, "ffn": 12}
LAYERS = 3
NEURONS = st.sets(
    st.sampled_from(
        [(layer, g, n) for layer in range(LAYERS) for g, width in WIDTHS.items() for n in range(width)]
    ),
    max_size=30,
)


def make(indices: dict, widths: dict[str, int] = WIDTHS) -> NeuronSet:
    return NeuronSet.from_indices("m", widths, LAYERS, indices)


def of(neurons: set) -> NeuronSet:
    keys = {(layer, group) for layer, group, _ in neurons}
    return make({key: [n for layer, group, n in neurons if (layer, group) == key] for key in keys})


def pooled(seed: int = 0, widths: dict[str, int] = WIDTHS) -> dict:
    generator = np.random.default_rng(seed)
    places = [(layer, group) for layer in range(LAYERS) for group in widths]
    return {place: generator.lognormal(0, 2, widths[place[1]]).astype(np.float32) for place in places}


@settings(max_examples=30)
@given(NEURONS, NEURONS, st.integers(0, 5))
def test_every_kind_stays_outside_and_takes_what_is_free(own: set, others: set, seed: int) -> None:
    target, outside, impacts = of(own), of(others), pooled(seed)
    drawn = {
        "random": random_control(target, outside, seed, impacts),
        "impact": impact_control(target, impacts, seed),
    }
    for kind, control in drawn.items():
        taken = target | outside if kind == "random" else target
        assert not len(control.neurons & taken) and control.n_asked == len(target)
        for (layer, group), n in target.counts_by_layer().items():
            free = WIDTHS[group] - len(taken.indices(layer, group))
            assert len(control.neurons.indices(layer, group)) == min(n, free)
    language = language_control(target, outside, seed, impacts)
    assert set(language.neurons) <= others - own
    assert len(language.neurons) == min(len(own), len(others - own))
    assert random_control(target, outside, seed, impacts) == drawn["random"]
    assert impact_control(target, impacts, seed) == drawn["impact"]
    assert language_control(target, outside, seed, impacts) == language


@settings(max_examples=30)
@given(NEURONS, st.integers(0, 5))
def test_partners_are_drawn_among_the_nearest(own: set, seed: int) -> None:
    """The same draws by sorting all that are left, for each neuron anew."""
    target, impacts = of(own), pooled(seed)
    generator = np.random.default_rng([seed, int(target.fingerprint(), 16)])
    for layer, group in target.places():
        sizes = np.log(impacts[layer, group].astype(np.float64))
        members = target.indices(layer, group)
        left = [n for n in range(WIDTHS[group]) if n not in members]
        chosen = set()
        for size in generator.permutation(sizes[members])[: len(left)]:
            nearest = sorted(left, key=lambda n: abs(sizes[n] - size))[: max(MIN_NEAREST, len(members))]
            chosen.add(nearest[generator.integers(len(nearest))])
            left = [n for n in left if n not in chosen]
        assert set(impact_control(target, impacts, seed).neurons.indices(layer, group).tolist()) == chosen


def test_impact_matched_draws_differ_and_match_far_better_than_random_ones() -> None:
    widths = {"ffn": 400, "v": 60}
    impacts = pooled(3, widths)
    largest = make({place: np.argsort(-values)[:6] for place, values in impacts.items()}, widths)
    draws = [impact_control(largest, impacts, seed) for seed in range(20)]
    assert len({draw.neurons for draw in draws}) == 20
    overlaps = [len(a.neurons & b.neurons) / len(largest) for i, a in enumerate(draws) for b in draws[:i]]
    assert np.mean(overlaps) < 0.75
    ratios = [draw.impact_ratio for draw in draws]
    by_chance = [random_control(largest, largest, seed, impacts).impact_ratio for seed in range(20)]
    assert min(ratios) > 5 * max(by_chance)
    assert max(ratios) < 1  # the set has the largest there are: no draw equals it, and the ratio says so


def test_a_set_in_the_middle_is_matched_closely() -> None:
    widths = {"ffn": 2000}
    impacts = pooled(1, widths)
    middle = make({place: np.argsort(values)[990:1010] for place, values in impacts.items()}, widths)
    for seed in range(20):
        assert impact_control(middle, impacts, seed).impact_ratio == pytest.approx(1, abs=0.05)


def test_the_ratio_is_of_geometric_means() -> None:
    impacts = {(0, "k"): np.array([8.0, 2.0, 1.0, 0.5], np.float32)}
    control = impact_control(make({(0, "k"): [0, 1]}), impacts, 0)
    assert control.neurons == make({(0, "k"): [2, 3]})
    assert control.impact_ratio == pytest.approx(math.sqrt(1 * 0.5) / math.sqrt(8 * 2))


def test_where_all_free_neurons_are_taken_there_is_one_draw() -> None:
    """47 of 64 v neurons, of which 17 are free."""
    widths = {"v": 64, "ffn": 40}
    target = make({(1, "v"): range(47), (0, "ffn"): [3]}, widths)
    impacts = pooled(0, widths)
    draws = [impact_control(target, impacts, seed) for seed in range(20)]
    assert {len(draw.neurons.indices(1, "v")) for draw in draws} == {17}
    assert {(len(draw.neurons), draw.n_asked) for draw in draws} == {(18, 48)}
    assert len(list(distinct(iter(draws)))) == MIN_NEAREST  # of the one neuron that leaves a choice
    whole = make({(1, "v"): range(64)}, widths)
    nothing = impact_control(whole, impacts, 0)
    assert nothing == Control(neurons=make({}, widths), n_asked=64, impact_ratio=None)
    assert list(distinct(iter([nothing]))) == []


def test_neurons_without_impact_are_drawn_too() -> None:
    impacts = {(0, "ffn"): np.zeros(12, np.float32)}
    control = impact_control(make({(0, "ffn"): [0, 1, 2]}), impacts, 0)
    assert len(control.neurons) == 3 and control.impact_ratio == pytest.approx(1)


def test_other_languages_are_drawn_alike() -> None:
    """Each neuron of the others' sets is as likely as any, wherever it lies."""
    target, others = make({(0, "q"): [0, 1]}), make({(0, "q"): [1, 2], (1, "ffn"): [5, 6, 7]})
    counts: dict = {}
    for seed in range(400):
        for neuron in language_control(target, others, seed, pooled()).neurons:
            counts[neuron] = counts.get(neuron, 0) + 1
    assert set(counts) == {(0, "q", 2), (1, "ffn", 5), (1, "ffn", 6), (1, "ffn", 7)}
    assert all(150 < n < 250 for n in counts.values())


def test_draws_depend_on_seed_and_set() -> None:
    target = make({(0, "ffn"): [0, 1], (1, "ffn"): [2, 3]})
    assert len({matched_control(target, target, seed) for seed in range(8)}) > 4
    with pytest.raises(SetError, match="0 or more"):
        matched_control(target, target, -1)


def test_a_whole_match_or_none_names_the_place() -> None:
    with pytest.raises(SetError, match=r"layer 1, group 'k'.* 2 neurons but only 1 of 4"):
        matched_control(make({(1, "k"): [0, 1]}), make({(1, "k"): [2]}), 0)
