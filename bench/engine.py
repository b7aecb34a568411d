"""Seconds to switch a variant in a running vLLM engine against seconds to start one, SmolLM2-135M, in one run.

python -m bench.engine
"""

from statistics import median

from bench.measuring import timed
from bench.models import random_neurons, smollm2
from polyneuron.eval.engines.settings import EngineSettings, start_engine
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.model.load import resolve_model
from polyneuron.neuron_core.model.opening import load_config

N_PER_PLACE, N_SWITCHES = 27, 5
"""27 neurons of each of five groups in each of 30 layers: 4,050."""


def main() -> None:
    """Prints the start, the switches and their ratio."""
    source = resolve_model(smollm2())
    neurons = random_neurons(anatomy_of(load_config(source)), lambda width: N_PER_PLACE, GROUPS)
    edit = WeightEdit.zero(neurons)
    settings = EngineSettings(
        source=source, backend="vllm", dtype="float32", add_bos=False, max_model_len=1024, max_num_seqs=16
    )
    engine, start_s = timed(lambda: start_engine(settings))

    def switch() -> None:
        with engine.variant(edit):
            pass

    switch_s = median([timed(switch)[1] for _ in range(N_SWITCHES + 1)][1:])
    engine.close()
    print(
        f"engine start {start_s:.1f} s; switch to a variant of {len(neurons)} neurons and back {switch_s:.3f} s"
    )
    print(f"ratio {start_s / switch_s:.0f}")


if __name__ == "__main__":
    main()
