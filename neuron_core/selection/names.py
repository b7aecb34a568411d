"""The names of the selection rules of this room. Imports nothing heavy."""

from typing import Literal

RuleName = Literal["scaled_sigma", "sigma", "quantile", "top_ratio"]
