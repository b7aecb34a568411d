"""Seconds in words."""

from polyneuron.neuron_core.common.durations import duration


def test_seconds_minutes_and_hours() -> None:
    assert [duration(s) for s in (3.21, 75, 7300)] == ["3.2 s", "1 min 15 s", "2 h 1 min"]
