"""A rank of a training under ZeRO-3, which counts what DeepSpeed gathers and adds up: python -m … RANK PORT FOLDER SHARE."""

import importlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from polyneuron.cluster.ranks.frozen_linears import frozen_linears
from polyneuron.cluster.ranks.training import DeepSpeedStepper, TrainingModel, TrainJob
from polyneuron.cluster.spec import ModelSpec, Seat
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.training.loop.recompute import recompute_layers
from polyneuron.neuron_core.training.loop.settings import TrainSettings
from polyneuron.neuron_core.training.trainable.compact import CompactNeurons
from tests.neuron_core.training.loop.test_trainer import chosen
from tests.neuron_core.training.plain_batches import make_batch
from tests.own_process import print_found

N_RANKS, N_STEPS, N_MICRO = 2, 3, 2
COLLECTIVES = ("all_gather_into_tensor", "all_gather", "reduce_scatter_tensor", "all_reduce", "broadcast")
"""Of all that DeepSpeed calls here; what each has in all is the largest of its tensors."""


def count_collectives(counted: Counter[str]) -> None:
    """From now on, adds the bytes of every collective to `counted`."""
    backend = importlib.import_module("deepspeed.comm.torch").TorchBackend
    for name in COLLECTIVES:
        setattr(backend, name, _counting(name, getattr(backend, name), counted))


def _counting(name: str, real: Any, counted: Counter[str]) -> Any:
    def called(self: Any, *arguments: Any, **named: Any) -> Any:
        tensors = [each for each in (*arguments, *named.values()) if isinstance(each, torch.Tensor)]
        lists = [each for each in (*arguments, *named.values()) if isinstance(each, list)]
        counted[name] += max([t.nbytes for t in tensors] + [sum(t.nbytes for t in each) for each in lists])
        return real(self, *arguments, **named)

    return called


def as_of_a_large_model(n_parameters: int) -> None:
    """DeepSpeed keeps a small model whole; from now on so much of it as of a model whose layers have a billion."""
    deepspeed = importlib.import_module("deepspeed")
    initialize = deepspeed.initialize

    def changed(**named: Any) -> Any:
        named["config"]["zero_optimization"] |= {
            "stage3_max_reuse_distance": n_parameters,
            "stage3_max_live_parameters": n_parameters,
            "stage3_prefetch_bucket_size": 0,
        }
        return initialize(**named)

    deepspeed.initialize = changed


def main(rank: int, port: int, folder: Path, recomputed_layers: float) -> None:
    """Prints the bytes of the last step: of its last micro-batch, and of the step itself."""
    model = TrainingModel(ModelSpec(source=str(folder)), Seat(rank, N_RANKS, "127.0.0.1", port), zero_stage=3)
    whole, _ = load_model(folder)
    neurons, counted = chosen(whole), Counter[str]()
    as_of_a_large_model(sum(p.numel() for p in whole.model.layers[0].parameters()))
    job = TrainJob(
        neuron_set=neurons,
        settings=TrainSettings(n_steps=N_STEPS),
        zero_stage=3,
        recomputed_layers=recomputed_layers,
        key="key",
        folder=str(folder),
        name="tuned",
    )
    trainable = CompactNeurons(model.base, neurons, gather=model.gather)
    found: dict[str, Any] = {}
    with trainable.attached(), frozen_linears(model.base):
        recompute_layers(model.base, recomputed_layers)
        stepper = DeepSpeedStepper(model, trainable.trained, job)
        count_collectives(counted)
        for _ in range(N_STEPS):  # DeepSpeed learns in the first what it needs when
            for number in range(N_MICRO):
                counted.clear()
                stepper.backward(make_batch([rank, number]), 0.1)
                found["micro_batch"] = dict(counted)
            counted.clear()
            stepper.step(1e-3)
            found["step"] = dict(counted)
        found["n_trained"] = sum(value.numel() for value in stepper.values().values())
    print_found(found)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
