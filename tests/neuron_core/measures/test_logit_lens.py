"""The logit lens against whole matrices in float64, in every family; and what a neuron really adds to the logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from polyneuron.neuron_core.measures import logit_lens
from polyneuron.neuron_core.measures.logit_lens import output_logits
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.stored_model import StoredModel
from polyneuron.neuron_core.sets.neuron_name import NeuronName
from tests.tiny_models import TINY, save_tiny_model, tiny_model

N_TOKENS = 259
"""Of `save_tiny_model`'s tokenizer."""


@pytest.fixture(scope="module", params=TINY)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[StoredModel, Any]:
    """A model in its files, and the same one whole."""
    folder = save_tiny_model(tmp_path_factory.mktemp("model"), request.param)
    return StoredModel(folder, "float32"), tiny_model(request.param, vocab_size=N_TOKENS)


def gain(norm: Any) -> Tensor:
    """Of a norm, from its weight and its kind."""
    weight: Tensor = norm.weight.detach().double()
    return weight + 1 if type(norm).__name__.startswith("Gemma") else weight


def oracle(model: Any, neuron: NeuronName) -> Tensor:
    """[D, V]: the whole output matrix through whole diagonal matrices and the whole head, then the neuron's columns."""
    layer, anatomy = anatomy_of(model).layers(model)[neuron.layer], anatomy_of(model)
    block = layer.mlp.down_proj if neuron.group == "ffn" else layer.self_attn.o_proj
    written = block.weight.detach().double()
    if hasattr(layer, "post_feedforward_layernorm"):
        after = layer.post_feedforward_layernorm if neuron.group == "ffn" else layer.post_attention_layernorm
        written = gain(after).diag() @ written
    decoder = model.get_submodule(anatomy.family.layers_path.removesuffix(".layers"))
    logits = model.get_output_embeddings().weight.detach().double() @ gain(decoder.norm).diag() @ written
    logits -= logits.mean(dim=0)
    if neuron.group != "v":
        return logits[:, [neuron.neuron]].T
    heads = logits.T.view(anatomy.n_heads, anatomy.head_dim, -1)
    repeats = anatomy.n_heads // anatomy.n_kv_heads
    return torch.stack(
        [
            heads[head, neuron.neuron % anatomy.head_dim]
            for head in range(anatomy.n_heads)
            if head // repeats == neuron.neuron // anatomy.head_dim
        ]
    )


@pytest.mark.parametrize("group", ["ffn", "o", "v"])
def test_what_is_read_in_pieces_is_what_whole_matrices_give(
    both: tuple[StoredModel, Any], group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, model = both
    anatomy = anatomy_of(model)
    monkeypatch.setattr(logit_lens, "_CHUNK", 7 * anatomy.hidden_size)  # 37 pieces of the head
    for neuron in (NeuronName(1, group, 0), NeuronName(0, group, anatomy.widths[group] - 1)):
        found, wanted = output_logits(stored, neuron), oracle(model, neuron)
        assert found.shape == wanted.shape == (anatomy.heads_per_kv if group == "v" else 1, N_TOKENS)
        assert wanted.std() > 0.1 and torch.allclose(found.double(), wanted, atol=1e-4, rtol=1e-4)


def test_neurons_of_attention_scores_write_nothing(both: tuple[StoredModel, Any]) -> None:
    assert all(output_logits(both[0], NeuronName(0, group, 3)).shape == (0, N_TOKENS) for group in "qk")


def test_in_the_last_layer_it_is_what_the_neuron_adds_to_the_logits(tmp_path: Path) -> None:
    """The difference that zeroing makes, where the final norm's factor is put back in."""
    folder = save_tiny_model(tmp_path, "llama-gqa-tied")
    model = tiny_model("llama-gqa-tied", vocab_size=N_TOKENS)
    last, ids, kept = model.model.layers[-1], torch.tensor([[5, 9, 40]]), dict[str, Tensor]()
    last.mlp.down_proj.register_forward_pre_hook(lambda module, args: kept.update(values=args[0][0, -1]))
    model.model.norm.register_forward_pre_hook(lambda module, args: kept.update(hidden=args[0][0, -1]))
    with torch.no_grad():
        before = model(ids).logits[0, -1]
        value, hidden = kept["values"][11], kept["hidden"]
        size = hidden.square().mean().sqrt()
        last.mlp.down_proj.weight[:, 11] = 0
        after = model(ids).logits[0, -1] * kept["hidden"].square().mean().sqrt() / size
    moved = (before - after) * size / value
    found = output_logits(StoredModel(folder, "float32"), NeuronName(2, "ffn", 11))[0]
    assert torch.allclose(found, moved - moved.mean(), atol=1e-3)
