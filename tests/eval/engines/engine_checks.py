"""Runs one family's tiny model under vLLM and Hugging Face, and prints what a test compares, as JSON.

A process of its own: vLLM keeps one engine a process, and its settings are read when it is imported.
"""

import sys
from pathlib import Path
from typing import Any

import torch

from polyneuron.eval.engines.settings import Engine, EngineSettings, start_engine
from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.edits.intervened_edit import IntervenedEdit
from polyneuron.neuron_core.edits.intervention import Intervention
from polyneuron.neuron_core.edits.modes import OPERATIONS
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.passes.batches import Sentence
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from tests.edits import edits_of, random_neurons
from tests.listening import open_to_others
from tests.own_process import print_found
from tests.tiny_models import token_ids


def changes(folder: Path) -> dict[str, Any]:
    """None, a deactivation over all groups, new values for the same neurons, an intervention of each operation, and one
    on the model with new values."""
    model = load_model(folder)[0]
    anatomy = anatomy_of(model)
    # other neurons and constants in every layer, so that one layer's change in another is seen
    ffn = {(layer, "ffn"): [1, 5 + layer, 29 - layer] for layer in range(anatomy.n_layers)}
    constants = {layer: torch.tensor([0.5, -0.1 * layer, 1.0 + layer]) for layer in range(anatomy.n_layers)}
    held = NeuronSet.from_indices("tiny", anatomy.widths, anatomy.n_layers, ffn)
    edits = edits_of(model, random_neurons(model, 3), noise=3.0)
    interventions = {
        name: Intervention(neuron_set=held, constants=constants, name=name, operation=name)
        for name in OPERATIONS
    }
    return edits | interventions | {"both": IntervenedEdit(edits["values"], interventions["set"])}  # type: ignore[arg-type]


def nlls(engine: Engine, change: Any) -> list[float]:
    sentences = [Sentence("x", i, tuple(ids)) for i, ids in enumerate(token_ids([9, 17, 30]))]
    with engine.variant(change):
        return [row.nll_nats for row in engine.sentence_nlls(sentences)]


def refused(engine: Engine, edit: WeightEdit) -> str:
    """What a change is told whose edit fits and whose intervention is of another model's shape."""
    other = NeuronSet.from_indices("other", {"ffn": 7}, 1, {(0, "ffn"): [3]})
    try:
        with engine.variant(IntervenedEdit(edit, Intervention.scaled(other, 2.0))):
            return "accepted"
    except SetError as error:
        return error.message


def main(folder: Path, tensor_parallel: int) -> None:
    found: dict[str, Any] = {}
    for backend in ("hf", "vllm"):
        engine = start_engine(
            EngineSettings(
                source=str(folder),
                backend=backend,  # type: ignore[arg-type]
                dtype="float32",
                add_bos=False,
                max_model_len=64,
                max_num_seqs=4,
                tensor_parallel=tensor_parallel if backend == "vllm" else 1,
            )
        )
        found[backend] = {name: nlls(engine, change) for name, change in changes(folder).items()}
        found[backend]["refused"] = refused(engine, changes(folder)["values"])
        found[backend]["again"] = nlls(engine, None)
        found[backend]["open_to_others"] = open_to_others()
        engine.close()
    print_found(found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
