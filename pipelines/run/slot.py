"""Room for one thing of a model at a time: the machine may not hold the workers and the engine together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any


class Slot:
    """Holds workers or the engine of one model; what comes next ends what is there. Leaving it as a context ends all."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._holder: str | None = None
        self._held: Any = None

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, *exc: object) -> None:
        self.clear()

    def holds(self, holder: str) -> bool:
        """Whether `holder` has been started and not been ended."""
        return self._holder == holder

    def hold(self, holder: str, start: Callable[[], AbstractContextManager[Any]]) -> Any:
        """What `start` yields, which runs until something else needs the place; started only if it does not run yet."""
        if not self.holds(holder):
            self.clear()
            self._held = self._stack.enter_context(start())
            self._holder = holder
        return self._held

    def clear(self) -> None:
        """Ends what is there."""
        self._holder = self._held = None
        self._stack.close()
