"""Every operation in every family against feed-forward blocks computed by hand; zero is what deactivation is.

`pytest tests/parity/test_interventions_oracle.py -s` prints the largest differences.
"""

from typing import Any

import pytest
import torch

from polyneuron.neuron_core.edits.intervention import Intervention
from polyneuron.neuron_core.edits.modes import OPERATIONS
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import anatomy_of
from tests.edits import random_neurons
from tests.parity.intervention_oracle import oracle_logits
from tests.tiny_models import TINY, tiny_model, token_ids

IDS = torch.tensor(token_ids([12, 12], seed=3))


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
    return found


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", TINY)
def test_family_matches_blocks_computed_by_hand(name: str, operation: Any) -> None:
    model = tiny_model(name)
    neurons = random_neurons(model, 5, ("ffn",))
    generator = torch.Generator().manual_seed(0)
    constants = {
        layer: 1.5 * torch.randn(5, generator=generator) for layer in range(anatomy_of(model).n_layers)
    }
    change = Intervention(neuron_set=neurons, constants=constants, name="change", operation=operation)
    base = logits(model)
    with change.applied(model):
        found = logits(model)
    expected = oracle_logits(model, IDS, change)
    largest, moved = float((found - expected).abs().max()), float((expected - base).abs().max())
    print(f"\n{name} {operation}: largest difference of a logit {largest:.1e} (the change moves {moved:.2f})")
    assert largest < 1e-4 and moved > 0.05
    assert torch.equal(logits(model), base)


@pytest.mark.parametrize("name", TINY)
def test_zero_is_deactivation(name: str) -> None:
    """Why the perplexity of a detector's sets is measured with `WeightEdit.zero`: it is the same model."""
    model = tiny_model(name)
    neurons = random_neurons(model, 5, ("ffn",))
    constants = {layer: torch.zeros(5) for layer in range(anatomy_of(model).n_layers)}
    with Intervention(neuron_set=neurons, constants=constants, name="zero").applied(model):
        held = logits(model)
    with WeightEdit.zero(neurons).applied(model):
        assert torch.equal(logits(model), held)
