"""The names of the detectors of this room. Imports nothing heavy."""

from typing import Literal, get_args

DetectorName = Literal["lape", "act_prob", "act_prob_pooled"]
DETECTORS: tuple[DetectorName, ...] = get_args(DetectorName)
IMPACT_METHODS = {"impact_related": "related", "impact_exclusive": "exclusive"}
"""Names under which the impact selection's sets are compared with the detectors', and their kinds."""
