"""The words of activation statistics: where activations are read, and what is kept of them. Imports nothing heavy."""

from typing import Literal, get_args

Site = Literal["matched", "pre_activation"]
"""Where an activation is read (`neuron_core.activations.measure`)."""
SITES: tuple[Site, ...] = get_args(Site)

Statistic = Literal["mean", "p5", "p10", "p25", "p50", "p75", "p90", "p95"]
"""One number per neuron and language: the mean, or a percentile."""
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)
PERCENTILES: tuple[int, ...] = tuple(int(name[1:]) for name in STATISTICS if name != "mean")
