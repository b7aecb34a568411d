"""The chunked loss is the loss over whole logits, in value and gradient, for every family."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from polyneuron.neuron_core.training.loop import head_loss
from polyneuron.neuron_core.training.loop.stepper import summed_loss
from tests.neuron_core.training.plain_batches import make_batch
from tests.tiny_models import TINY, tiny_model


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("n_chunk", [5, 1000])
def test_loss_and_gradient_are_those_of_whole_logits(
    name: str, n_chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_loss, "TRAINING_LOGIT_BYTES", 4 * 97 * n_chunk)
    model, batch = tiny_model(name), make_batch([0, 1, 2])
    head = model.get_output_embeddings()
    head.requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    found = summed_loss(model, batch)
    found_gradients = torch.autograd.grad(found / 7, trained, allow_unused=True)
    logits = model(**batch.inputs(), use_cache=False).logits[:, :-1]
    expected = cross_entropy(logits.flatten(0, 1), batch.labels[:, 1:].flatten(), reduction="sum")
    expected_gradients = torch.autograd.grad(expected / 7, trained, allow_unused=True)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    assert any(gradient is not None and gradient.abs().max() > 1e-3 for gradient in found_gradients)
    for found_gradient, gradient in zip(found_gradients, expected_gradients, strict=True):
        if gradient is not None:
            torch.testing.assert_close(found_gradient, gradient, rtol=1e-3, atol=1e-4)


def test_nothing_is_kept_when_no_gradient_is_wanted() -> None:
    model = tiny_model("llama-gqa-tied").requires_grad_(False)
    with torch.no_grad():
        loss = summed_loss(model, make_batch([0]))
    assert not loss.requires_grad and loss.dtype == torch.float32 and loss > 0
