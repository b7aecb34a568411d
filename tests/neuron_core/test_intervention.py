"""Interventions hold activations at constants, leave no trace, and go through files without pickle."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from neuron_core.anatomy import anatomy_of
from neuron_core.errors import SetError
from neuron_core.intervention import Intervention, is_intervention_file
from neuron_core.neuron_set import NeuronSet
from neuron_core.weight_edit import WeightEdit
from tests.tiny_models import tiny_model

IDS = torch.tensor([[5, 9, 31, 7, 60, 12]])
HELD = {0: [1, 7], 1: [0, 3, 39]}


def held_set(model: Any) -> NeuronSet:
    anatomy = anatomy_of(model)
    places = {(layer, "ffn"): listed for layer, listed in HELD.items()}
    return NeuronSet.from_indices("tiny", anatomy.widths, anatomy.n_layers, places)


def intervention(model: Any, name: str = "means") -> Intervention:
    constants = {0: torch.tensor([0.5, -2.0]), 1: torch.tensor([0.0, 1.5, 3.0])}
    return Intervention(held_set(model), constants, name)


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(input_ids=IDS).logits
    return found


@pytest.mark.parametrize("name", ["llama-gqa-tied", "gemma3", "phi3"])
def test_held_neurons_give_constant_times_up_and_no_hook_is_left(name: str) -> None:
    model = tiny_model(name)
    change, base, seen = intervention(model), logits(model), dict[int, tuple[torch.Tensor, torch.Tensor]]()

    def keep(layer: int) -> Any:
        mlp = anatomy_of(model).layers(model)[layer].mlp

        def hook(module: Any, args: Any) -> None:
            x = mlp.seen[0]
            up = mlp.gate_up_proj(x)[..., 40:] if name == "phi3" else mlp.up_proj(x)
            seen[layer] = args[0], up

        mlp.register_forward_pre_hook(lambda module, args: setattr(mlp, "seen", args))
        return mlp.down_proj.register_forward_pre_hook(hook)

    handles = [keep(layer) for layer in HELD]
    with change.applied(model):
        changed = logits(model)
    for handle in handles:
        handle.remove()
    for layer, indices in HELD.items():
        inputs, up = seen[layer]
        assert torch.allclose(inputs[..., indices], change.constants[layer] * up[..., indices], atol=1e-6)
        others = [i for i in range(40) if i not in indices]
        assert not torch.allclose(
            inputs[..., others], change.constants[layer][0] * up[..., others], atol=1e-2
        )
    assert not torch.allclose(changed, base, atol=1e-2)
    assert torch.equal(logits(model), base)


def test_an_exception_removes_the_hooks_too() -> None:
    model = tiny_model("qwen2")
    base = logits(model)
    with pytest.raises(KeyboardInterrupt), intervention(model).applied(model):
        raise KeyboardInterrupt
    assert torch.equal(logits(model), base)


def test_other_groups_other_constants_and_other_models_are_refused() -> None:
    model = tiny_model("qwen2")
    anatomy, good = anatomy_of(model), intervention(model)
    attention = NeuronSet.from_indices(
        "tiny", anatomy.widths, anatomy.n_layers, {(0, "q"): [1], (0, "ffn"): [2]}
    )
    one = torch.ones(1)
    for which, constants, words in (
        (attention, {0: one}, "names q neurons; only ffn"),
        (good.neuron_set, {0: one, 1: torch.ones(3)}, "needs 2 constants for layer 0"),
        (good.neuron_set, {0: torch.ones(2)}, "needs 3 constants for layer 1"),
        (good.neuron_set, {**good.constants, 2: one}, r"constants for layers \[2\]"),
    ):
        with pytest.raises(SetError, match=words):
            Intervention(which, constants, "means")
    other = tiny_model("qwen2", intermediate_size=48)
    with pytest.raises(SetError), good.applied(other):
        pytest.fail("was applied")


def test_save_and_load(tmp_path: Path) -> None:
    change = intervention(tiny_model("qwen2"))
    again = Intervention.load(change.save(tmp_path / "means.safetensors"))
    assert (again.neuron_set, again.name) == (change.neuron_set, "means")
    assert again.fingerprint() == change.fingerprint()
    assert all(torch.equal(again.constants[layer], change.constants[layer]) for layer in HELD)
    assert [file.name for file in tmp_path.iterdir()] == ["means.safetensors"]


def test_bad_files_and_places_are_refused(tmp_path: Path) -> None:
    change = intervention(tiny_model("qwen2"))
    path = change.save(tmp_path / "means.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:-4])
    edit = WeightEdit.zero(change.neuron_set).save(tmp_path / "edit.safetensors")
    with safe_open(path, "pt") as file:
        described = file.metadata()
    save_file({"zero": torch.ones(2)}, tmp_path / "renamed.safetensors", metadata=described)
    for name, words in (
        ("cut", "No intervention can be read"),
        ("absent", "No intervention can be read"),
        ("edit", "not an intervention that Intervention.save wrote"),
        ("renamed", "of no layer"),
    ):
        with pytest.raises(SetError, match=f"{name}.safetensors.*{words}|{words}.*{name}.safetensors"):
            Intervention.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(SetError, match="The intervention cannot be written"):
        change.save(tmp_path / "no" / "means.safetensors")
    assert is_intervention_file(path)
    assert not any(
        is_intervention_file(other) for other in (edit, tmp_path / "absent", tmp_path / "cut.safetensors")
    )


def test_the_fingerprint_is_of_set_and_constants_alone() -> None:
    model = tiny_model("qwen2")
    change = intervention(model)
    assert change.fingerprint() == intervention(model, "other name").fingerprint()
    nudged = {**change.constants, 0: torch.tensor([0.5, -2.5])}
    assert Intervention(change.neuron_set, nudged, "means").fingerprint() != change.fingerprint()
