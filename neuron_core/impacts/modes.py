"""How much detection measures. Imports nothing heavy."""

from typing import Literal, get_args

DetectionMode = Literal["certified", "full"]
"""certified: q and k neurons that no rule above the floors can select carry an upper bound; full: all are measured."""
DETECTION_MODES: tuple[DetectionMode, ...] = get_args(DetectionMode)
