"""The order of blocks: every block once an epoch, the same for ever, and resumable at any step."""

import numpy as np
import pytest

from polyneuron.neuron_core.training.data.feed import BlockSampler


def test_every_epoch_shows_every_block_once_in_its_own_order() -> None:
    sampler = BlockSampler(23, seed=4, epochs=3)
    assert sampler.n_steps(5) == 14
    seen = [index for step in range(14) for index in sampler.batch_indices(step, 5)]
    epochs = [seen[start : start + 23] for start in (0, 23, 46)]
    assert len(seen) == 69 and all(sorted(epoch) == list(range(23)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert [len(sampler.batch_indices(step, 5)) for step in (12, 13)] == [5, 4]
    assert BlockSampler(23, seed=5).batch_indices(0, 23) != epochs[0]


def test_a_resumed_run_sees_what_an_unbroken_one_does_at_any_world_size() -> None:
    unbroken = [BlockSampler(40, 7, epochs=2).batch_indices(step, 6) for step in range(14)]
    resumed = [BlockSampler(40, 7, epochs=2).batch_indices(step, 6) for step in range(9, 14)]
    assert unbroken[9:] == resumed
    # Three workers that take turns see together what one does.
    assert sorted(index for rank in range(3) for index in resumed[0][rank::3]) == sorted(unbroken[9])


def test_the_order_is_the_same_for_ever() -> None:
    # A change of this order makes running trainings see some blocks twice and others never.
    assert BlockSampler(8, seed=0, epochs=2).batch_indices(0, 16) == [
        1,
        7,
        0,
        4,
        3,
        2,
        6,
        5,
        6,
        1,
        2,
        7,
        0,
        4,
        3,
        5,
    ]


def test_the_order_mixes_well() -> None:
    order = np.array(BlockSampler(10_000, seed=3).batch_indices(0, 10_000))
    assert abs(np.corrcoef(order, np.arange(10_000))[0, 1]) < 0.04  # four standard errors of 1/sqrt(n)
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.04


def test_senseless_samplers_and_steps_are_refused() -> None:
    sampler = BlockSampler(4, 0)
    for wrong in (-1, 2):
        with pytest.raises(IndexError, match="no step"):
            sampler.batch_indices(wrong, 2)
    with pytest.raises(ValueError, match="at least one"):
        sampler.batch_indices(0, 0)
    for settings in ((0, 0, 1), (4, -1, 1), (4, 0, 0)):
        with pytest.raises(ValueError, match="needs blocks"):
            BlockSampler(*settings)
