"""Buckets and sketches: exact edges, the stated error, percentiles by hand, and sums that no order changes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyneuron.neuron_core.activations.buckets import (
    ABSOLUTE_ERROR,
    LARGEST,
    RELATIVE_ERROR,
    bucket_edges,
    bucket_of,
    counts_above,
    cumulative,
    percentile_buckets,
    rank_of,
)
from polyneuron.neuron_core.activations.names import N_BUCKETS, PERCENTILES, SKETCH_BYTES
from polyneuron.neuron_core.activations.sketch import MAX_TOKENS, ActivationSketch
from polyneuron.neuron_core.activations.statistics import layer_statistics
from polyneuron.neuron_core.common.errors import CorpusError

INSIDE = st.floats(-LARGEST, LARGEST, exclude_min=True, exclude_max=True, width=32)


def sketch_of(values: torch.Tensor) -> ActivationSketch:
    sketch = ActivationSketch.empty(values.shape[1])
    sketch.add(values)
    return sketch


def same(a: ActivationSketch, b: ActivationSketch) -> bool:
    tensors = ("counts", "total", "minimum", "maximum")
    return a.n_tokens == b.n_tokens and all(torch.equal(getattr(a, f), getattr(b, f)) for f in tensors)


def test_every_edge_ends_its_bucket_and_the_next_value_is_above_it() -> None:
    edges, buckets = bucket_edges(), torch.arange(N_BUCKETS, dtype=torch.int32)
    assert torch.equal(bucket_of(edges[1:]), buckets)
    assert torch.equal(bucket_of(torch.nextafter(edges[:-1], torch.tensor(torch.inf))), buckets)


def test_edges_by_hand() -> None:
    """33/32 ends the first of the 32 parts between 1 and 2; both zeros are not positive."""
    edges = bucket_edges()
    at = int(bucket_of(torch.tensor([1.01]))[0])
    assert (edges[at].item(), edges[at + 1].item()) == (1.0, 33 / 32)
    at = int(bucket_of(torch.tensor([-1.01]))[0])
    assert (edges[at].item(), edges[at + 1].item()) == (-33 / 32, -1.0)
    zeros = bucket_of(torch.tensor([0.0, -0.0, -1e-42, 1e-42]))
    assert zeros.tolist() == [N_BUCKETS // 2 - 1] * 3 + [N_BUCKETS // 2]


@given(st.lists(INSIDE, min_size=2, max_size=50))
def test_buckets_keep_order_and_hold_their_values(listed: list[float]) -> None:
    values = torch.tensor(sorted(listed))
    buckets, edges = bucket_of(values).long(), bucket_edges()
    assert (buckets.diff() >= 0).all()
    assert (edges[buckets] < values).all() and (values <= edges[buckets + 1]).all()


@given(st.lists(INSIDE, min_size=1, max_size=60))
def test_percentiles_are_within_the_stated_error(listed: list[float]) -> None:
    values = torch.tensor(listed)[:, None]
    found = layer_statistics({"x": sketch_of(values)}).percentiles[0, 0].astype(np.float64)
    exact = np.percentile(values[:, 0].double().numpy(), PERCENTILES, method="inverted_cdf")
    assert (np.abs(found - exact) <= np.maximum(RELATIVE_ERROR * np.abs(exact), ABSOLUTE_ERROR)).all()


def test_ranks_by_hand() -> None:
    """Of 7 values, 5% and 10% are the first, 25% the second, 50% the fourth, 90% the seventh."""
    assert [rank_of(q, 7) for q in (5, 10, 25, 50, 90)] == [1, 1, 2, 4, 7]
    assert rank_of(90, 10) == 9 and rank_of(50, 1) == 1


def test_exceedance_is_exact_above_the_edge() -> None:
    values = torch.randn(500, 6, generator=torch.Generator().manual_seed(0))
    below = cumulative(sketch_of(values).counts)
    buckets = percentile_buckets(below, PERCENTILES)
    edges = bucket_edges()[buckets + 1]
    assert torch.equal(counts_above(below, buckets), (values[:, :, None] > edges).sum(0))


def test_counts_mean_and_extremes() -> None:
    values = torch.tensor([[0.5, 0.0], [-0.25, 0.0], [1.0, 3.0], [0.125, -2.0]])
    found = layer_statistics({"x": sketch_of(values)})
    assert found.n_tokens.tolist() == [4] and found.n_positive.tolist() == [[3, 1]]
    assert found.mean.tolist() == [[0.34375, 0.25]]
    assert (found.minimum.tolist(), found.maximum.tolist()) == ([[-0.25, -2.0]], [[1.0, 3.0]])
    assert found.percentiles[0, 0, 0] >= -0.25 and found.percentiles[0, 1, -1] <= 3.0


def test_means_are_within_half_a_unit() -> None:
    values = torch.randn(1000, 20, generator=torch.Generator().manual_seed(1)) * 3
    exact = values.double().mean(0).numpy()
    assert np.abs(sketch_of(values).mean() - exact).max() <= 2.0**-21


def test_pooled_percentiles_are_of_all_tokens_together() -> None:
    """100 tokens at 1 and 300 at 4: the pooled median is 4, which no token exceeds by more than a bucket."""
    low, high = torch.full((100, 1), 1.0), torch.full((300, 1), 4.0)
    found = layer_statistics({"a": sketch_of(low), "b": sketch_of(high)})
    at = PERCENTILES.index(50), PERCENTILES.index(25)
    assert found.pooled[0, at[0]] == 4.0 and found.pooled[0, at[1]] == 1.0
    assert found.above_pooled[:, 0, at[0]].tolist() == [0, 0]
    assert found.above_pooled[:, 0, at[1]].tolist() == [0, 300]


@settings(max_examples=25)
@given(st.permutations(range(5)), st.integers(0, 2**16))
def test_adding_in_any_order_gives_the_same_bits(order: list[int], seed: int) -> None:
    values = torch.randn(200, 7, generator=torch.Generator().manual_seed(seed)) * 5
    cuts = sorted(torch.randint(0, 201, (4,), generator=torch.Generator().manual_seed(seed)).tolist())
    parts = torch.tensor_split(values, cuts)
    sketch = ActivationSketch.empty(7)
    for at in order:
        sketch.add(parts[at])
    assert same(sketch, sketch_of(values))


@pytest.mark.parametrize("activation", [torch.relu, torch.nn.functional.gelu])
def test_activations_of_a_plain_feed_forward_block(activation) -> None:
    """ReLU is exactly 0 on half the tokens; those are not positive, and their percentile is 0 to 2^-15."""
    values = activation(torch.randn(1000, 5, generator=torch.Generator().manual_seed(4)))
    found = layer_statistics({"x": sketch_of(values)})
    assert np.array_equal(found.n_positive[0], (values > 0).sum(0).numpy())
    exact = np.percentile(values.double().numpy(), PERCENTILES, axis=0, method="inverted_cdf").T
    limit = np.maximum(RELATIVE_ERROR * np.abs(exact), ABSOLUTE_ERROR)
    assert (np.abs(found.percentiles[0] - exact) <= limit).all()


def test_bfloat16_is_counted_as_it_is() -> None:
    values = torch.randn(64, 3, generator=torch.Generator().manual_seed(5)).bfloat16()
    assert same(sketch_of(values), sketch_of(values.float()))


def test_size_and_limit() -> None:
    sketch = ActivationSketch.empty(10)
    held = (sketch.counts, sketch.total, sketch.minimum, sketch.maximum)
    assert sum(tensor.nbytes for tensor in held) == 10 * SKETCH_BYTES
    sketch.n_tokens = MAX_TOKENS
    with pytest.raises(CorpusError, match="134217729 tokens"):
        sketch.add(torch.zeros(1, 10))
