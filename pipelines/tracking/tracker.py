"""What a tracker is to Polyneuron, and which one a configuration asks for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from polyneuron.neuron_core.common.errors import PolyneuronError
from polyneuron.neuron_core.common.extras import require_module
from polyneuron.pipelines.config.tracking import TrackingConfig


class TrackerError(PolyneuronError):
    """A tracker that cannot be used now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackedRun:
    """What a tracker is told at the start. There are no credentials in it."""

    id: str
    """The tracker's run; the same one is continued under the same id."""
    name: str
    """What people read: the model, and where its results lie."""
    group: str
    """What the models of one study have in common."""
    kind: str
    """The command whose run it is."""
    project: str
    """The tracker's folder of runs."""
    config: Mapping[str, Any]
    """The configuration, versions and hardware, as JSON would hold them."""
    folder: str | None
    """Where the tracker keeps its own files; None: where it likes."""


class Tracker(Protocol):
    """One run in a tracker. Whatever it raises is made a warning of."""

    where: str
    """Where people see the run: a URL, or a folder."""

    def curve(self, axis: str, rows: Sequence[Mapping[str, float | str]]) -> None:
        """Adds points to curves over `axis`: each row has a value of it and of some of the curves. Returns when the points would
        outlive this process."""

    def values(self, values: Mapping[str, float | str]) -> None:
        """Sets values of the run as a whole; a later one takes the place of an earlier one of its name."""

    def close(self, failed: bool) -> None:
        """Ends the run for now, and hands over what is left, within a bounded time."""


def tracker_of(config: TrackingConfig) -> Callable[[TrackedRun], Tracker] | None:
    """What begins a run in the tracker that a configuration asks for; None where it asks for none.

    Raises:
        MissingExtra: the tracker's library is not installed.
    """
    if config.tracker == "none":
        return None
    require_module(config.tracker)
    from polyneuron.pipelines.tracking.weights_and_biases import WeightsAndBiases

    return WeightsAndBiases
