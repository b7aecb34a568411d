"""Runs one family's tiny model under vLLM and Hugging Face, and prints what a test compares, as JSON.

A process of its own: vLLM keeps one engine a process, and its settings are read when it is imported.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval.engines.settings import Engine, EngineSettings, start_engine
from neuron_core.anatomy import anatomy_of
from neuron_core.batches import Sentence
from neuron_core.errors import SetError
from neuron_core.intervention import Intervention
from neuron_core.models import load_config, load_model
from neuron_core.neuron_set import NeuronSet
from neuron_core.weight_edit import WeightEdit
from tests.tiny_models import token_ids


def changes(folder: Path) -> dict[str, Any]:
    """None, a deactivation over all groups, new values for the same neurons, and an intervention."""
    anatomy, rng = anatomy_of(load_config(folder)), np.random.default_rng(0)
    indices = {
        (layer, group): sorted(rng.choice(anatomy.widths[group], 3, replace=False).tolist())
        for layer in range(anatomy.n_layers)
        for group in ("q", "k", "v", "ffn", "o")
    }
    everywhere = NeuronSet.from_indices("tiny", anatomy.widths, anatomy.n_layers, indices)
    captured = WeightEdit.capture(everywhere, load_model(folder)[0])
    generator = torch.Generator().manual_seed(1)
    assert captured.values is not None
    values = {
        key: value + 0.3 * torch.randn(value.shape, generator=generator)
        for key, value in captured.values.items()
    }
    ffn = {(layer, "ffn"): [1, 5, 9] for layer in range(anatomy.n_layers)}
    held = {layer: torch.tensor([0.5, -0.1, 1.0]) for layer in range(anatomy.n_layers)}
    return {
        "base": None,
        "zero": WeightEdit.zero(everywhere, "zero"),
        "values": WeightEdit.from_values(everywhere, values, "values"),
        "held": Intervention(
            NeuronSet.from_indices("tiny", anatomy.widths, anatomy.n_layers, ffn), held, "held"
        ),
    }


def nlls(engine: Engine, change: Any) -> list[float]:
    sentences = [Sentence("x", i, tuple(ids)) for i, ids in enumerate(token_ids([9, 17, 30]))]
    with engine.variant(change):
        return [row.nll_nats for row in engine.sentence_nlls(sentences)]


def refused(engine: Engine) -> str:
    """What an edit of another model's shape is told."""
    other = NeuronSet.from_indices("other", {"ffn": 7}, 1, {(0, "ffn"): [3]})
    try:
        with engine.variant(WeightEdit.zero(other)):
            return "accepted"
    except SetError as error:
        return error.message


def main(folder: Path, tensor_parallel: int) -> None:
    found: dict[str, Any] = {}
    for backend in ("hf", "vllm"):
        engine = start_engine(
            EngineSettings(
                str(folder),
                backend,  # type: ignore[arg-type]
                "float32",
                add_bos=False,
                max_model_len=64,
                max_num_seqs=4,
                tensor_parallel=tensor_parallel if backend == "vllm" else 1,
            )
        )
        found[backend] = {name: nlls(engine, change) for name, change in changes(folder).items()}
        found[backend]["refused"] = refused(engine)
        found[backend]["again"] = nlls(engine, None)
        engine.close()
    print("RESULT " + json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
