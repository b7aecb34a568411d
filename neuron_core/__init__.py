"""Polyneuron's mathematics on neurons, usable from a notebook in one process. Names are imported when first used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyneuron.neuron_core.activations.measure import measure_activations
    from polyneuron.neuron_core.activations.table import ActivationTable
    from polyneuron.neuron_core.detectors.act_prob import ActProb, ActProbPooled
    from polyneuron.neuron_core.detectors.lape import Lape
    from polyneuron.neuron_core.edits.export import export_checkpoint
    from polyneuron.neuron_core.edits.intervention import Intervention
    from polyneuron.neuron_core.edits.weight_edit import WeightEdit
    from polyneuron.neuron_core.impacts.detect import measure_impacts
    from polyneuron.neuron_core.impacts.table import ImpactTable
    from polyneuron.neuron_core.measures.perplexity import perplexity
    from polyneuron.neuron_core.model.anatomy import anatomy_of
    from polyneuron.neuron_core.model.load import load_model
    from polyneuron.neuron_core.passes.windows import equal_windows
    from polyneuron.neuron_core.selection.noise_floor import noise_floor
    from polyneuron.neuron_core.selection.select import select
    from polyneuron.neuron_core.sets.controls import matched_control
    from polyneuron.neuron_core.sets.neuron_set import NeuronSet
    from polyneuron.neuron_core.sets.overlap import overlap_table, overlaps

__all__ = [
    "ActProb",
    "ActProbPooled",
    "ActivationTable",
    "ImpactTable",
    "Intervention",
    "Lape",
    "NeuronSet",
    "WeightEdit",
    "anatomy_of",
    "equal_windows",
    "export_checkpoint",
    "load_model",
    "matched_control",
    "measure_activations",
    "measure_impacts",
    "noise_floor",
    "overlap_table",
    "overlaps",
    "perplexity",
    "select",
]

_MODULES = {
    "activations.measure": ("measure_activations",),
    "activations.table": ("ActivationTable",),
    "detectors.act_prob": ("ActProb", "ActProbPooled"),
    "detectors.lape": ("Lape",),
    "edits.export": ("export_checkpoint",),
    "edits.intervention": ("Intervention",),
    "edits.weight_edit": ("WeightEdit",),
    "impacts.detect": ("measure_impacts",),
    "impacts.table": ("ImpactTable",),
    "measures.perplexity": ("perplexity",),
    "model.anatomy": ("anatomy_of",),
    "model.load": ("load_model",),
    "passes.windows": ("equal_windows",),
    "selection.noise_floor": ("noise_floor",),
    "selection.select": ("select",),
    "sets.controls": ("matched_control",),
    "sets.neuron_set": ("NeuronSet",),
    "sets.overlap": ("overlap_table", "overlaps"),
}
"""Names by the module that defines them; no name is also the name of a room, which would hide it once imported."""

_HOMES = {name: module for module, names in _MODULES.items() for name in names}

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would take any name

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
