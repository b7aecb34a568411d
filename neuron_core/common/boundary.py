"""The boundary to other people's libraries: whatever they raise over a user's file becomes one message of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from polyneuron.neuron_core.common.errors import PolyneuronError

_LONGEST = 300
"""Characters of a library's own words that a message repeats."""


@contextmanager
def errors_become(kind: type[PolyneuronError], what: str, mend: str) -> Iterator[None]:
    """Inside, every error is raised as `kind`, with `what` cannot be done and how to mend it.

    It asks for no list of names, since a library may raise anything over a damaged file, a panic of Rust code included. Ours
    pass as they are, as do a lack of memory, which says nothing about the file, and what ends a program.
    """
    try:
        yield
    except BaseException as error:
        if _passes(error):
            raise
        raise kind(f"{what}: {in_few_words(error)}. {mend}") from error


def _passes(error: BaseException) -> bool:
    if isinstance(error, PolyneuronError | MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return not isinstance(error, Exception) and type(error).__module__ != "pyo3_runtime"


def in_few_words(error: BaseException) -> str:
    """The first line of what an error says, with its kind where it says next to nothing (a KeyError says only a key)."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0].rstrip(".:") if lines else ""
    if len(line) > _LONGEST:
        line = f"{line[:_LONGEST]} ..."
    return line if " " in line else f"{type(error).__name__} {line}".rstrip()
