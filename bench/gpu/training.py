"""What a training step costs, compact and with masked AdamW; the chunks of its loss; copies of hidden states."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import torch

from bench.gpu.scale import Case, Scale
from bench.models import random_neurons
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.training.loop import head_loss
from polyneuron.neuron_core.training.loop.recompute import recompute_layers
from polyneuron.neuron_core.training.loop.settings import TrainSettings
from polyneuron.neuron_core.training.loop.stepper import PlainStepper
from polyneuron.neuron_core.training.trainable.compact import CompactNeurons
from tests.neuron_core.training.plain_batches import PlainBatch
from tests.parity.masked_adamw import MaskedStepper
from tests.tiny_models import TINY, tiny_model

SETTINGS = TrainSettings(n_steps=3, learning_rate=1e-3, weight_decay=0.1)


def equality(scale: Scale) -> Iterator[Case]:
    """Largest difference of a trained value after three steps of tiny models in float32, compact and with masked AdamW."""
    batch = _batch(scale, vocabulary=97)
    for family in scale.either(tuple(TINY), ("llama-gqa-tied", "phi3")):
        values = []
        for way in (_compact, _masked):
            model = tiny_model(family).to(scale.device).requires_grad_(False)
            with way(model, random_neurons(anatomy_of(model), lambda width: round(0.2 * width))) as (
                stepper,
                trained,
            ):
                nats = [_step(stepper, batch) for _ in range(SETTINGS.n_steps)]
                values.append(trained())
        apart = (float((ours - values[1][key]).abs().max()) for key, ours in values[0].items())
        yield {"family": family, "nats_per_token": nats, "largest_difference": max(apart)}


def training(scale: Scale) -> Iterator[Case]:
    """A step of two layers in bfloat16: compact (0.5% of the neurons), with all layers recomputed, and masked AdamW."""
    for name, way in {"compact": _compact, "recomputed": _compact, "masked": _masked}.items():
        model = scale.model(2)
        recompute_layers(model, float(name == "recomputed"))
        neurons = random_neurons(anatomy_of(model), lambda width: round(0.005 * width))
        with way(model, neurons) as (stepper, _):
            case = scale.measured(partial(_step, stepper, _batch(scale, model.config.vocab_size)))
        yield {"way": name, "n_neurons": len(neurons), **case}


def heads(scale: Scale) -> Iterator[Case]:
    """Loss of a training batch over a large vocabulary, with the hidden states' gradient, by bytes of logits at once."""
    model = scale.model(1, vocabulary=scale.either(128_256, 193))
    labels = _batch(scale, model.config.vocab_size).ids.flatten()
    like: Any = dict(device=scale.device, dtype=torch.bfloat16, requires_grad=True)
    hidden = torch.randn(len(labels), model.config.hidden_size, **like)
    for n_bytes in scale.either((16 << 20, 128 << 20, 1 << 30), (1 << 12, 16 << 20)):
        with mock.patch.object(head_loss, "TRAINING_LOGIT_BYTES", n_bytes):
            case = scale.measured(lambda: head_loss.summed_head_loss(model, hidden, labels).backward())
        yield {"logit_bytes": n_bytes, "positions": len(labels), **case}


def copies(scale: Scale) -> Iterator[Case]:
    """Hidden states of a micro-batch to the host and back: through pageable memory, as now, and through pinned memory."""
    for n_tokens in (64, 512):
        values = torch.randn(8, n_tokens, scale.either(4096, 32), device=scale.device, dtype=torch.bfloat16)
        for pinned in (False, True) if scale.on_gpu else (False,):
            host = torch.empty(values.shape, dtype=values.dtype, pin_memory=pinned)
            to, back = partial(host.copy_, values, pinned), partial(values.copy_, host, pinned)
            case = scale.measured(lambda to=to, back=back: (to(), back()))
            yield {"tokens": n_tokens, "pinned": pinned, "bytes": 2 * values.nbytes, **case}


@contextmanager
def _compact(model: Any, neurons: NeuronSet) -> Iterator[tuple[Any, Callable[[], Any]]]:
    """A stepper, and what gives the trained values by the keys of a `WeightEdit`."""
    compact = CompactNeurons(model, neurons)
    with compact.attached():
        yield PlainStepper(model, compact.trained, SETTINGS), lambda: compact.to_edit("compact").values


@contextmanager
def _masked(model: Any, neurons: NeuronSet) -> Iterator[tuple[Any, Callable[[], Any]]]:
    """As `_compact`, by masked gradients of whole matrices."""
    stepper = MaskedStepper(model, neurons, SETTINGS)
    yield stepper, lambda: WeightEdit.capture(neurons, model, "masked").values


def _step(stepper: Any, batch: PlainBatch) -> float:
    """Nats a token before the step."""
    n_predicted = batch.ids[:, 1:].numel()
    nats: float = stepper.backward(batch, 1 / n_predicted)
    stepper.step(SETTINGS.learning_rate)
    return nats / n_predicted


def _batch(scale: Scale, vocabulary: int) -> PlainBatch:
    shape, generator = scale.either((4, 1024), (2, 12)), torch.Generator().manual_seed(0)
    return PlainBatch(torch.randint(3, vocabulary, shape, generator=generator).to(scale.device))
