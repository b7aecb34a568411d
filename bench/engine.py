"""Seconds to switch a variant in a running vLLM engine against seconds to start one, SmolLM2-135M, in one run.

python -m bench.engine
"""

import time

import numpy as np

from bench.models import smollm2
from polyneuron.eval.engines.settings import EngineSettings
from polyneuron.eval.engines.start import start_engine
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.load import load_config, resolve_model
from polyneuron.neuron_core.sets.neuron_set import NeuronSet

N_PER_PLACE, N_SWITCHES = 27, 5
"""27 neurons of each of five groups in each of 30 layers: 4,050."""


def main() -> None:
    """Prints the start, the switches and their ratio."""
    source = resolve_model(smollm2())
    anatomy, rng = anatomy_of(load_config(source)), np.random.default_rng(0)
    indices = {
        (layer, group): sorted(rng.choice(anatomy.widths[group], N_PER_PLACE, replace=False).tolist())
        for layer in range(anatomy.n_layers)
        for group in ("q", "k", "v", "ffn", "o")
    }
    edit = WeightEdit.zero(NeuronSet.from_indices("SmolLM2", anatomy.widths, anatomy.n_layers, indices))
    began = time.perf_counter()
    settings = EngineSettings(
        source=source,
        backend="vllm",
        dtype="float32",
        add_bos=False,
        max_model_len=1024,
        max_num_seqs=16,
    )
    engine = start_engine(settings)
    start_s = time.perf_counter() - began
    seconds = []
    for _ in range(N_SWITCHES + 1):
        began = time.perf_counter()
        with engine.variant(edit):
            pass
        seconds.append(time.perf_counter() - began)
    switch_s = float(np.median(seconds[1:]))
    engine.close()
    print(
        f"engine start {start_s:.1f} s; switch to a variant of {len(edit.neuron_set)} neurons and back {switch_s:.3f} s"
    )
    print(f"ratio {start_s / switch_s:.0f}")


if __name__ == "__main__":
    main()
