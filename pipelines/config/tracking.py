"""Whether a team's tracker is shown a run. Imports nothing heavy."""

from typing import Literal

from polyneuron.pipelines.config.section import Section


class TrackingConfig(Section):
    """A tracker that is shown training curves, scores and times. Credentials come from its own environment variables."""

    tracker: Literal["none", "wandb"] = "none"
    """none, or wandb: Weights & Biases, offline as well (docs/trackers.md)."""
    project: str | None = None
    """The tracker's project; WANDB_PROJECT, or else polyneuron, if left out."""
