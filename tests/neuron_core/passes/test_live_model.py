"""Models that a user holds: measured as `load_model` would give them and handed back as they were, or refused by name."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import polyneuron as pn
from polyneuron.neuron_core.common.errors import CorpusError, ModelError
from polyneuron.neuron_core.model.whole import require_whole
from polyneuron.neuron_core.passes.live_model import measured
from polyneuron.neuron_core.published.scores import reference_scores
from tests.tiny_models import tiny_model, token_ids

SENTENCES = token_ids([5, 7])
NEURONS = {(0, "ffn"): [1, 2], (1, "q"): [0]}


def neurons(model: Any) -> pn.NeuronSet:
    anatomy = pn.anatomy_of(model)
    return pn.NeuronSet.from_indices("m", anatomy.widths, anatomy.n_layers, NEURONS)


MEASURES: dict[str, Callable[[Any], Any]] = {
    "impacts": lambda model: (
        pn.measure_impacts(model, None, {"x": SENTENCES}, mode="full").to_arrow().to_pydict()
    ),
    "activations": lambda model: pn.measure_activations(model, None, {"x": SENTENCES}).to_arrow().to_pydict(),
    "perplexity": lambda model: pn.perplexity(model, None, SENTENCES),
    "published": lambda model: {
        key: value.tolist() for key, value in reference_scores(model, None, SENTENCES).items()
    },
}
DOORS: dict[str, Callable[[Any], Any]] = MEASURES | {
    "capture": lambda model: pn.WeightEdit.capture(neurons(model), model),
    "applied": lambda model: pn.WeightEdit.zero(neurons(model)).applied(model).__enter__(),
    "intervention": lambda model: (
        pn.Intervention.scaled(neurons(model).restrict(("ffn",)), 2.0).applied(model).__enter__()
    ),
    "export": lambda model: pn.export_checkpoint(
        model, None, pn.WeightEdit.zero(neurons(model)), "/tmp/none/x"
    ),
}


@pytest.mark.parametrize("measure", MEASURES)
def test_dropout_is_off_and_modes_are_put_back(measure: str) -> None:
    model = tiny_model("qwen2", attention_dropout=0.5)
    expected = MEASURES[measure](model)
    model.train()
    model.model.layers[1].eval()
    modes = [module.training for module in model.modules()]
    assert MEASURES[measure](model) == expected
    assert [module.training for module in model.modules()] == modes


def test_modes_are_put_back_after_an_error() -> None:
    model = tiny_model("llama-gqa-tied").train()
    with pytest.raises(CorpusError):
        pn.measure_impacts(model, None, {"x": []})
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("measure", MEASURES)
def test_fused_attention_does_not_lose_the_cap(measure: str) -> None:
    model = tiny_model("gemma2")
    expected = MEASURES[measure](model)
    model.set_attn_implementation("sdpa")
    assert MEASURES[measure](model) == expected
    assert model.config._attn_implementation == "sdpa"


class DTensor(torch.Tensor):
    """Stands for torch's own, which needs a process group."""


def sharded_by_deepspeed(model: Any) -> Any:
    model.model.norm.weight.ds_id = 3
    return model


def on_meta(model: Any) -> Any:
    model.model.layers[1].mlp.up_proj.to("meta")
    return model


def quantised(model: Any) -> Any:
    linear = model.model.layers[0].mlp.up_proj
    linear.weight = nn.Parameter(linear.weight.data.to(torch.int8), requires_grad=False)
    return model


def distributed(model: Any) -> Any:
    norm = model.model.norm
    norm.weight = nn.Parameter(norm.weight.data.as_subclass(DTensor))
    return model


def adapted(model: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))


WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "compiled": (lambda model: torch.compile(model), "_orig_mod"),
    "data parallel": (lambda model: nn.DataParallel(model), "model.module"),
    "DeepSpeed": (sharded_by_deepspeed, "model.norm.weight"),
    "meta": (on_meta, "layers.1.mlp.up_proj.weight"),
    "quantised": (quantised, "layers.0.mlp.up_proj.weight"),
    "DTensor": (distributed, "model.norm.weight"),
    "adapter": (adapted, "merge_and_unload"),
    "path": (lambda model: "/some/folder", "str"),
    "pair": (lambda model: (model, None), "tuple"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_measured_is_refused_by_name(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong, named = WRONG[kind]
    model = tiny_model("llama-gqa-tied")
    chosen = neurons(model)
    monkeypatch.setattr(f"{__name__}.neurons", lambda model: chosen)
    given = wrong(model)
    for door in DOORS.values():
        with pytest.raises(ModelError) as refused:
            door(given)
        assert named in refused.value.message


def test_several_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama-gqa-tied")
    elsewhere = model.model.layers[1].mlp.up_proj.weight
    real = nn.Parameter.device.__get__  # type: ignore[attr-defined]
    devices = property(lambda p: torch.device("cuda:1") if p is elsewhere else real(p))
    monkeypatch.setattr(nn.Parameter, "device", devices, raising=False)
    with pytest.raises(ModelError, match="cuda:1"):
        require_whole(model)


def test_a_plain_model_passes_untouched() -> None:
    model = tiny_model("gemma2")
    before = copy.deepcopy(model.state_dict())
    with measured(model):
        assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("token", [97, 10**6, -1])
def test_tokens_without_a_row_are_named(measure: str, token: int) -> None:
    model = tiny_model("llama-gqa-tied")
    doors = {
        "impacts": lambda ids: pn.measure_impacts(model, None, {"x": ids}),
        "activations": lambda ids: pn.measure_activations(model, None, {"x": ids}),
        "perplexity": lambda ids: pn.perplexity(model, None, ids),
        "published": lambda ids: reference_scores(model, None, ids),
    }
    with pytest.raises(CorpusError, match=f"token id {token},.* 97 rows"):
        doors[measure]([[3, token, 5]])
