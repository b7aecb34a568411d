"""What training on actors is compared with, and how it is seen that nothing else was touched."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import xxhash

from polyneuron.cluster.ranks.training import TrainingModel, TrainResult, train_rank
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.training.loop.settings import TrainSettings
from polyneuron.neuron_core.training.loop.trainer import train
from tests.edits import apart
from tests.neuron_core.training.loop.test_trainer import chosen
from tests.parity.masked_adamw import MaskedStepper, masks_of


@dataclass(frozen=True)
class Twin:
    """The same training in one process, with masked gradients: its losses, and the neurons' values before and after."""

    neurons: NeuronSet
    losses: list[float]
    base: WeightEdit
    edit: WeightEdit


def masked_adamw(
    source: Path,
    settings: TrainSettings,
    blocks_of_step: Callable[[int], Sequence[int]],
    make_batch: Callable[[Sequence[int]], Any],
) -> Twin:
    """Trains four neurons of every layer and group (see `chosen`) the published way."""
    model = load_model(source)[0]
    neurons = chosen(model)
    base = WeightEdit.capture(neurons, model)
    stepper: Any = MaskedStepper(model, neurons, settings)
    log = train(stepper, blocks_of_step, make_batch, settings).log
    return Twin(neurons, [row["loss_nats"] for row in log], base, WeightEdit.capture(neurons, model))


def compare(trained: TrainResult, twin: Twin) -> tuple[float, float]:
    """The largest difference of a loss (nats), and how far the trainings ended apart (see `apart`)."""
    losses = [row["loss_nats"] for row in trained.log]
    found, wanted, start = trained.edit.values, twin.edit.values, twin.base.values
    assert found is not None and wanted is not None and start is not None
    return max(abs(a - b) for a, b in zip(losses, twin.losses, strict=True)), apart(found, wanted, start)


def train_and_hash(
    model: TrainingModel, batches: Sequence[Any], **arguments: Any
) -> tuple[bool, TrainResult | None]:
    """`train_rank` on a rank; also whether every parameter of the base is, bit for bit, what it was before."""
    before = _hashes(model)
    result = train_rank(model, batches, **arguments)
    return _hashes(model) == before, result


def train_and_watch(
    model: TrainingModel, batches: Sequence[Any], **arguments: Any
) -> tuple[int, list[tuple[int, ...]]]:
    """`train_rank` on a rank; how many tensors autograd kept, and the shapes of those that are views of a frozen matrix."""
    n_saved, frozen = 0, []

    def kept(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal n_saved
        n_saved += 1
        base = tensor._base
        if base is not None and hasattr(base, "ds_id") and not base.requires_grad:
            frozen.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
        train_rank(model, batches, **arguments)
    return n_saved, frozen


def _hashes(model: TrainingModel) -> dict[str, str]:
    found = {}
    for name, parameter in model.base.named_parameters():
        with model.gather([parameter]):
            assert parameter.numel()
            found[name] = _hash(parameter)
    return found


def _hash(parameter: torch.Tensor) -> str:
    return xxhash.xxh3_128_hexdigest(parameter.detach().cpu().contiguous().view(torch.uint8).numpy())


def leaves_the_rest_alone(source: Path, edit: WeightEdit) -> None:
    """With the edit applied, exactly the chosen entries differ from the base model's."""
    base, model = load_model(source)[0], load_model(source)[0]
    masks = masks_of(model, edit.neuron_set)
    with edit.applied(model), torch.no_grad():
        for (name, was), (_, now) in zip(base.named_parameters(), model.named_parameters(), strict=True):
            if name in masks:
                assert not torch.equal(was, now), name
                was, now = was.masked_fill(masks[name], 0), now.masked_fill(masks[name], 0)
            assert torch.equal(was, now), name
