"""What the ranks of a group are doing: asked again and again, without waiting for one that does not answer."""

import time
from collections.abc import Sequence
from typing import Any

import ray

State = tuple[str, int, int]
"""Name of the pass, layers done, layers in all."""


class Watch:
    """Asks every worker for its state. A question stays open until it is answered; until then the last answer holds."""

    def __init__(self, workers: Sequence[Any]) -> None:
        self._workers = workers
        self._asked: list[Any] = [None] * len(workers)
        self.states: list[State] = [("starting", 0, 0)] * len(workers)
        self._advanced_at = time.monotonic()

    def look(self, timeout_s: float) -> None:
        """Collects the answers that come within `timeout_s`. Raises RayActorError when a worker is dead."""
        for rank, worker in enumerate(self._workers):
            if self._asked[rank] is None:
                self._asked[rank] = worker.state.remote()
        done, _ = ray.wait(self._asked, num_returns=len(self._asked), timeout=timeout_s)
        before = list(self.states)
        for rank, question in enumerate(self._asked):
            if question in done:
                self.states[rank], self._asked[rank] = ray.get(question), None
        if self.states != before:
            self.advanced()

    def advanced(self) -> None:
        """Something was finished: the clock starts anew."""
        self._advanced_at = time.monotonic()

    @property
    def idle_s(self) -> float:
        """Seconds since any rank last advanced."""
        return time.monotonic() - self._advanced_at

    def where(self) -> str:
        """Every rank and the layer it is at; ranks that do not answer first."""
        silent = [rank for rank, question in enumerate(self._asked) if question is not None]
        ranks = sorted(range(len(self.states)), key=lambda rank: rank not in silent)
        return ", ".join(_at(rank, self.states[rank], rank in silent) for rank in ranks)


def _at(rank: int, state: State, silent: bool) -> str:
    name, done, total = state
    place = f"{name} after layer {done} of {total}"
    return f"rank {rank} does not answer and was last in {place}" if silent else f"rank {rank} in {place}"
