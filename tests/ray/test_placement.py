"""What fits where, by hand; waiting and refusal on a real session are in test_solo.py and test_group.py."""

import pytest

from polyneuron.cluster.actors.placement import Room


def room(count: int, cpus: float, gpus: float, strict: bool = False) -> Room:
    return Room(count=count, cpus=cpus, gpus=gpus, strict=strict, noun="something", way_out="Add nodes")


@pytest.mark.parametrize(
    ("asked", "nodes", "fits"),
    [
        (room(2, 1, 0), [(1, 0), (1, 0)], True),
        (room(2, 1, 0, strict=True), [(1, 0), (1, 0)], False),
        (room(1, 1, 8, strict=True), [(64, 4), (64, 4)], False),  # eight GPUs, but not on one node
        (room(1, 1, 8, strict=True), [(64, 4), (64, 8)], True),
        (room(8, 4, 1), [(64, 4), (64, 4)], True),
        (room(8, 40, 1), [(64, 4), (64, 4)], False),  # GPUs enough, cores for one worker a node
        (room(4, 1, 0.5), [(64, 2)], True),
        (room(3, 1, 0.4), [(64, 1)], False),  # 0.4 + 0.4 leave 0.2 of the one GPU
        (room(5, 1, 0.4), [(64, 2)], False),  # 2 GPUs hold two each, though 5 x 0.4 is 2
        (room(1, 1, 0), [], False),
    ],
)
def test_what_fits(asked: Room, nodes: list[tuple[float, float]], fits: bool) -> None:
    assert asked.fits(nodes) is fits
