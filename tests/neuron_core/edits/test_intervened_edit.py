"""An edit and an intervention at once: what each does, in order, and nothing left of either."""

from typing import Any

import pytest
import torch

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.edits.intervened_edit import IntervenedEdit
from polyneuron.neuron_core.edits.intervention import Intervention
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from tests.edits import edits_of, random_neurons
from tests.parity.intervention_oracle import oracle_logits
from tests.tiny_models import tiny_model, token_ids

IDS = torch.tensor(token_ids([12, 12], seed=3))


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
    return found


def both_of(model: Any, constant: float = 0.7) -> IntervenedEdit:
    held = random_neurons(model, 4, ("ffn",))
    constants = {layer: torch.full((4,), constant) for layer in range(anatomy_of(model).n_layers)}
    edit = edits_of(model, random_neurons(model, 3), noise=2.0)["values"]
    assert edit is not None
    return IntervenedEdit(edit, Intervention(neuron_set=held, constants=constants, name="held"))


@pytest.mark.parametrize("name", ["llama-gqa-tied", "gemma2", "phi3"])
def test_the_intervention_acts_on_the_edited_model_and_both_are_undone(name: str) -> None:
    model = tiny_model(name)
    change, before = both_of(model), logits(model)
    with change.edit.applied(model):
        edited = logits(model)
        expected = oracle_logits(
            model, IDS, change.intervention
        )  # blocks computed by hand from the edited weights
    with change.applied(model):
        found = logits(model)
    assert float((found - expected).abs().max()) < 1e-4
    assert float((found - edited).abs().max()) > 0.05 and float((found - before).abs().max()) > 0.05
    assert torch.equal(logits(model), before)
    with pytest.raises(KeyError), change.applied(model):
        raise KeyError
    assert torch.equal(logits(model), before)


def test_name_and_fingerprint_are_those_of_both() -> None:
    model = tiny_model("llama-gqa-tied")
    change = both_of(model)
    assert change.name == f"{change.edit.name}+held" and change.parts == (change.edit, change.intervention)
    assert change.fingerprint() == both_of(model).fingerprint() != both_of(model, 0.8).fingerprint()
    assert change.fingerprint() not in [part.fingerprint() for part in change.parts]


def test_nothing_is_touched_when_either_does_not_fit() -> None:
    model = tiny_model("llama-gqa-tied")
    before = logits(model)
    other = NeuronSet.from_indices("other", {"ffn": 7}, 1, {(0, "ffn"): [3]})
    change = IntervenedEdit(both_of(model).edit, Intervention.scaled(other, 2.0))
    with pytest.raises(SetError, match="layers"), change.applied(model):
        pass
    assert torch.equal(logits(model), before)
