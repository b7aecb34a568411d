"""The keys under which the work of stages is stored, so that none is done twice."""

from __future__ import annotations

from typing import Any

from polyneuron.eval.store.units import unit_key

VERSION = 1
"""Raised when the mathematics of a stage changes, so that old units are not taken for new ones."""


def stage_unit(stage: str, **parts: Any) -> str:
    """The key of one unit of a stage: a hash of `parts`, which are all that decides its result."""
    return unit_key(stage=stage, version=VERSION, **parts)
