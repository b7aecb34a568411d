"""Polyneuron's mathematics on neurons, usable from a notebook in one process. Names are imported when first
used.
"""

import importlib
from typing import Any

_EXPORTS = {
    "load_model": "neuron_core.models",
    "anatomy_of": "neuron_core.anatomy",
    "measure_impacts": "neuron_core.detect",
    "ImpactTable": "neuron_core.impact_table",
    "measure_activations": "neuron_core.activations.measure",
    "ActivationTable": "neuron_core.activations.table",
    "Lape": "neuron_core.detectors.lape",
    "ActProb": "neuron_core.detectors.act_prob",
    "ActProbPooled": "neuron_core.detectors.act_prob",
    "overlaps": "neuron_core.overlap",
    "overlap_table": "neuron_core.overlap",
    "NeuronSet": "neuron_core.neuron_set",
    "matched_control": "neuron_core.neuron_set",
    "WeightEdit": "neuron_core.weight_edit",
    "Intervention": "neuron_core.intervention",
    "export_checkpoint": "neuron_core.export",
    "perplexity": "neuron_core.perplexity",
    "select": "neuron_core.selection",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'neuron_core' has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)
