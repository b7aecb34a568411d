"""A part of a report's page: a template, and the values that it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Part:
    """``name``: of the template, without its ending, and of the place that links lead to."""

    name: str
    values: Mapping[str, Any]
