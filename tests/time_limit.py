"""An alarm for what may hang."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Hangs(BaseException):
    """What took too long. No Exception, so that nothing on the way takes it for an answer."""


@contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """Raises `Hangs` inside after so many seconds."""

    def stop(*_: object) -> None:
        raise Hangs(f"after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
