"""LoRA as an outside baseline: attached it changes nothing at first, merged it is what was trained, detached it is gone."""

import pytest
import torch

from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.training.loop.settings import TrainSettings
from polyneuron.neuron_core.training.loop.stepper import PlainStepper, summed_loss
from polyneuron.neuron_core.training.loop.trainer import train
from polyneuron.neuron_core.training.trainable.lora_spec import everywhere
from polyneuron.neuron_core.training.trainable.low_rank import LowRank, every_neuron, n_values, rank_of_size
from tests.neuron_core.training.plain_batches import four_in_turn, make_batch
from tests.tiny_models import TINY, tiny_model

SETTINGS = TrainSettings(n_steps=3, global_batch=4, micro_batch=4, learning_rate=1e-2)


@pytest.mark.parametrize("name", TINY)
def test_the_merged_edit_gives_the_loss_of_the_adapters(name: str) -> None:
    model = tiny_model(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    neurons = every_neuron("tiny", anatomy_of(model))
    batch = make_batch([5, 6])
    base = summed_loss(model, batch).item()
    with LowRank(model, neurons, everywhere(2)).attached() as low_rank:
        assert summed_loss(model, batch).item() == pytest.approx(base, rel=1e-6)
        stepper = PlainStepper(model, low_rank.trained, SETTINGS)
        train(stepper, four_in_turn, make_batch, SETTINGS)
        trained, values = summed_loss(model, batch).item(), stepper.values()
    edit = low_rank.to_edit("lora", values)
    assert trained != pytest.approx(base, rel=1e-3)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.state_dict().keys() == before.keys()
    assert all(parameter.requires_grad for parameter in model.parameters())
    with edit.applied(model), torch.no_grad():
        assert summed_loss(model, batch).item() == pytest.approx(trained, rel=1e-5)


def test_sizes_are_counted_without_weights() -> None:
    model = tiny_model("llama-biased")
    anatomy = anatomy_of(model)
    layers = model.get_decoder().layers
    # o_proj's bias is of no neuron.
    owned = sum(
        p.numel() for n, p in layers.named_parameters() if "norm" not in n and not n.endswith("o_proj.bias")
    )
    assert n_values(every_neuron("tiny", anatomy), anatomy) == owned
    with LowRank(model, every_neuron("tiny", anatomy), everywhere(3)).attached() as low_rank:
        n = sum(parameter.numel() for parameter in low_rank.trained.values())
    assert rank_of_size(n, anatomy) == 3 and rank_of_size(1, anatomy) == 1
