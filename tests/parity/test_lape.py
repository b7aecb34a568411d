"""LAPE against an independent reimplementation: plain loops over neurons, exact fractions, one logarithm at a time."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyneuron.neuron_core.detectors.lape import Lape
from tests.activation_tables import table_of_counts


def slow_lape(counts, n_tokens, filter_rate, top_rate, bar_rate):
    """language -> set of (layer, neuron). Probabilities are compared as fractions, entropies at 12 decimals."""
    n_languages, n_layers, width = counts.shape
    p = {
        (language, layer, neuron): Fraction(int(counts[language, layer, neuron]), int(n_tokens[language]))
        for language in range(n_languages)
        for layer in range(n_layers)
        for neuron in range(width)
    }
    everything = sorted(p.values())
    least = everything[max(1, round(len(everything) * filter_rate)) - 1]
    bar = everything[max(1, round(len(everything) * bar_rate)) - 1]
    ranked = []
    for layer in range(n_layers):
        for neuron in range(width):
            mine = [p[language, layer, neuron] for language in range(n_languages)]
            if max(mine) > least:
                shares = [float(value / sum(mine)) for value in mine if value]
                entropy = math.fsum(-share * math.log(share) for share in shares)
                ranked.append((round(entropy, 12), layer, neuron))
    selected = sorted(ranked)[: round(n_layers * width * top_rate)]
    return {
        language: {(layer, neuron) for _, layer, neuron in selected if p[language, layer, neuron] > bar}
        for language in range(n_languages)
    }


def fast_lape(counts, n_tokens, *rates):
    found = Lape(*rates).detect(table_of_counts(counts, n_tokens))
    return {
        at: {(layer, neuron) for layer, _, neuron in which} for at, which in enumerate(found.sets.values())
    }


@st.composite
def count_tables(draw):
    """Few distinct counts, so that probabilities, entropies and quantiles tie often; some languages never fire."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 12)))
    n_tokens = np.array(draw(st.lists(st.sampled_from([4, 6, 8, 97]), min_size=shape[0], max_size=shape[0])))
    highest = draw(st.sampled_from([1, 3, 97]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    counts = generator.integers(0, np.minimum(highest, n_tokens)[:, None, None] + 1, shape)
    counts[draw(st.lists(st.integers(0, shape[0] - 1), max_size=2))] = 0
    return counts, n_tokens


@settings(max_examples=300)
@given(
    count_tables(),
    st.sampled_from([0.5, 0.8, 0.95]),
    st.sampled_from([0.05, 0.3, 1.0]),
    st.sampled_from([0.2, 0.5, 0.95]),
)
def test_fast_equals_slow(table, filter_rate, top_rate, bar_rate) -> None:
    rates = filter_rate, top_rate, bar_rate
    assert fast_lape(*table, *rates) == slow_lape(*table, *rates)


@pytest.mark.parametrize("seed", range(3))
def test_published_constants(seed: int) -> None:
    """A thousand neurons and skewed probabilities, as activations have them."""
    generator = np.random.default_rng(seed)
    n_tokens = np.array([5000, 4000, 7000, 5000])
    counts = generator.binomial(n_tokens[:, None, None], generator.beta(0.3, 2, (4, 5, 200)))
    found = fast_lape(counts, n_tokens, 0.95, 0.01, 0.95)
    assert found == slow_lape(counts, n_tokens, 0.95, 0.01, 0.95)
    assert len(set.union(*found.values())) == 10


def test_order_of_languages_does_not_matter() -> None:
    generator = np.random.default_rng(7)
    counts, n_tokens = generator.integers(0, 4, (6, 3, 50)), np.full(6, 9)
    ahead = fast_lape(counts, n_tokens, 0.8, 0.1, 0.8)
    behind = fast_lape(counts[::-1], n_tokens, 0.8, 0.1, 0.8)
    assert ahead == {5 - at: which for at, which in behind.items()}
