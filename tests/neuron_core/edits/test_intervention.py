"""Interventions change activations, leave no trace, name where their statistics come from, and go through files."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from polyneuron.neuron_core.activations.measure import measure_activations
from polyneuron.neuron_core.activations.table import ActivationTable
from polyneuron.neuron_core.common.errors import ConfigError, SetError
from polyneuron.neuron_core.edits.intervention import Intervention, is_intervention_file, lowest_output
from polyneuron.neuron_core.edits.modes import OPERATIONS
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.measures.perplexity import sentence_nlls
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from tests.tiny_models import tiny_model, token_ids

IDS = torch.tensor([[5, 9, 31, 7, 60, 12]])
HELD = {0: [1, 7], 1: [0, 3, 39]}


def held_set(model: Any) -> NeuronSet:
    anatomy = anatomy_of(model)
    places = {(layer, "ffn"): listed for layer, listed in HELD.items()}
    return NeuronSet.from_indices("tiny", anatomy.widths, anatomy.n_layers, places)


def intervention(model: Any, name: str = "means") -> Intervention:
    constants = {0: torch.tensor([0.5, -2.0]), 1: torch.tensor([0.0, 1.5, 3.0])}
    return Intervention(neuron_set=held_set(model), constants=constants, name=name)


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


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_that_change_nothing(operation: Any) -> None:
    """Times one and plus zero are the base model bit for bit; zero times is the same as set to zero."""
    model = tiny_model("qwen2")
    base, held = logits(model), intervention(model)
    neutral = {"set": 0.0, "scale": 1.0, "shift": 0.0}[operation]
    constants = {layer: torch.full_like(values, neutral) for layer, values in held.constants.items()}
    change = replace(held, constants=constants, operation=operation)
    with change.applied(model):
        found = logits(model)
    if operation == "set":
        with Intervention.scaled(held.neuron_set, 0.0).applied(model):
            assert torch.equal(logits(model), found)
        assert not torch.allclose(found, base, atol=1e-2)
    else:
        assert torch.equal(found, base)
    assert torch.equal(logits(model), base)


def test_layer_by_layer_is_the_whole() -> None:
    """Perplexity in layer-major order takes interventions, beside edits and the base model."""
    model = tiny_model("gemma2")
    change = replace(intervention(model), operation="shift")
    sentences = [Sentence("x", i, tuple(ids)) for i, ids in enumerate(token_ids([6, 9]))]
    batches, runner = micro_batches(sentences, 2), LayerMajor(model)
    base, changed, again = sentence_nlls(runner, batches, [None, change, None])
    with change.applied(model):
        assert sentence_nlls(runner, batches, [None])[0] == changed
    assert base == again != changed


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
            Intervention(neuron_set=which, constants=constants, name="means")
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


def test_operation_and_mode_travel_and_count(tmp_path: Path) -> None:
    held = intervention(tiny_model("qwen2"))
    kinds = [
        replace(held, operation=operation, mode=mode)
        for operation in OPERATIONS
        for mode in ("matched", "as_published")
    ]
    for change in kinds:
        again = Intervention.load(change.save(tmp_path / "change.safetensors"))
        assert (again.operation, again.mode, again.sites) == (change.operation, change.mode, change.sites)
        assert again.fingerprint() == change.fingerprint()
    assert len({change.fingerprint() for change in kinds}) == len(kinds)
    with pytest.raises(SetError, match="'add' in mode 'matched'; operations are set, scale, shift"):
        replace(held, operation="add")


def statistics_of(model: Any, site: Any) -> ActivationTable:
    corpora = {"en": token_ids([30, 25], seed=1), "sw": token_ids([28, 31], seed=2)}
    return measure_activations(model, None, corpora, site, model_name="tiny")


def test_statistics_are_read_where_they_are_written() -> None:
    model = tiny_model("qwen2")
    table, which = statistics_of(model, "matched"), held_set(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p10 = Intervention.from_statistics(which, table, "sw", "p10")
        mean = Intervention.from_statistics(which, table, "sw", name="mean of sw")
        zero = Intervention.from_statistics(which, table, "sw", "zero")
    np.testing.assert_array_equal(p10.constants[1], table.percentiles[1, 1, HELD[1], 1])
    np.testing.assert_array_equal(mean.constants[0], table.mean[1, 0, HELD[0]].astype(np.float32))
    assert not any(values.any() for values in zero.constants.values())
    assert p10.name == f"p10-sw-{which.fingerprint()[:8]}" and mean.name == "mean of sw"
    assert p10.sites == ("matched", "matched") and p10.operation == "set"


def test_as_published_is_named_and_warned_about_once() -> None:
    """By hand: the constants are P5 of the gate projection, and those below -0.2785 are counted."""
    model = tiny_model("qwen2")
    table, which = statistics_of(model, "pre_activation"), held_set(model)
    p5 = [table.percentiles[0, layer, index, 0] for layer, listed in HELD.items() for index in listed]
    n_below = sum(value < -0.2784645 for value in p5)
    assert n_below > 0
    with pytest.warns(UserWarning, match=f"{n_below} of 5 constants lie below -0.2785") as caught:
        change = Intervention.from_statistics(which, table, "en", "p5", "as_published")
    assert len(caught) == 1 and caught[0].filename == __file__
    assert change.name.startswith("p5-en-") and change.name.endswith("-as-published")
    assert change.sites == ("pre_activation", "matched")
    assert torch.cat([*change.constants.values()]).tolist() == p5
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # zero is no statistic
        zero = Intervention.from_statistics(which, table, "en", "zero", "as_published")
    assert zero.mode == "matched" and not zero.name.endswith("published")


def test_statistics_of_another_site_language_or_shape_are_refused() -> None:
    model = tiny_model("qwen2")
    table, which = statistics_of(model, "matched"), held_set(model)
    for arguments, words in (
        ((which, table, "en", "mean", "as_published"), "needs statistics of site pre_activation.*'matched'"),
        ((which, replace(table, site="pre_activation"), "en"), "needs statistics of site matched"),
        ((which, table, "en", "mean", "both"), "one of matched, as_published"),
        ((which, table, "th"), "No activations of th"),
        ((which, table, "en", "p42"), "no statistic 'p42'; there are mean, p5"),
        ((held_set(tiny_model("qwen2", intermediate_size=48)), table, "en"), "48 ffn neurons"),
    ):
        with pytest.raises(SetError, match=words):
            Intervention.from_statistics(*arguments)
    published = replace(table, site="pre_activation")
    with pytest.raises(ConfigError, match="no activation function 'swish2'"):
        Intervention.from_statistics(which, published, "en", "p5", "as_published", activation="swish2")


@pytest.mark.parametrize(
    ("activation", "lowest"), [("silu", -0.2784645), ("gelu_pytorch_tanh", -0.1700408), ("relu", 0.0)]
)
def test_the_least_an_activation_function_gives(activation: str, lowest: float) -> None:
    """SiLU's is -W(1/e)."""
    assert lowest_output(activation) == pytest.approx(lowest, abs=1e-6)


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
    assert replace(change, constants=nudged).fingerprint() != change.fingerprint()
