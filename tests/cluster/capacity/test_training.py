"""What a layer keeps for its backward pass, against what autograd really saves."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig

from polyneuron.cluster.capacity.shape import shape_of
from polyneuron.cluster.capacity.training import PlannedTraining, saved_bytes, saved_layer_bytes
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.training.data.packed_batch import model_masks
from polyneuron.neuron_core.training.trainable.compact import CompactNeurons

N_LAYERS, N_BLOCKS, N_TOKENS = 4, 2, 128
FIELDS: dict[str, Any] = dict(
    vocab_size=1000,
    hidden_size=256,
    intermediate_size=768,
    num_hidden_layers=N_LAYERS,
    num_attention_heads=8,
    num_key_value_heads=2,
)
CONFIGS = {
    "llama": lambda: LlamaConfig(**FIELDS),
    "gemma3": lambda: Gemma3TextConfig(**FIELDS, head_dim=32, sliding_window=64),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", CONFIGS)
def test_bytes_kept_for_the_backward_pass(family: str, dtype: str) -> None:
    config = CONFIGS[family]()
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype), attn_implementation="sdpa")
    compact = CompactNeurons(model, some_neurons(model))
    weights = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *compact.trained.values())}
    kept: list[torch.Tensor] = []
    ids = torch.randint(3, 900, (N_BLOCKS, N_TOKENS))
    masks = model_masks(config, torch.zeros_like(ids), getattr(torch, dtype))

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)  # alive, so that no storage is counted under a reused address
        return tensor

    with compact.attached(), saved_tensors_hooks(keep, lambda tensor: tensor):
        model.get_decoder()(input_ids=ids, attention_mask=masks, use_cache=False)
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    measured = sum(n for place, n in storages.items() if place not in weights)
    training = planned(recomputed_layers=0.0)
    assert saved_bytes(shape_of(config, dtype), training) == pytest.approx(measured, rel=0.07)


def test_recomputed_layers_keep_their_input_alone() -> None:
    shape = shape_of(CONFIGS["llama"](), "float32")
    none, half = saved_layer_bytes(shape, planned(recomputed_layers=0.0)), planned(recomputed_layers=0.5)
    inputs = 2 * (2 * N_TOKENS) * 256 * 4
    assert saved_bytes(shape, half) == 2 * none + inputs + none


def planned(recomputed_layers: float) -> PlannedTraining:
    return PlannedTraining(
        n_trained=1,
        n_steps=1,
        global_batch=N_BLOCKS,
        micro_batch=N_BLOCKS,
        n_tokens=N_TOKENS,
        zero_stage=2,
        recomputed_layers=recomputed_layers,
    )


def some_neurons(model: Any) -> NeuronSet:
    """A hundredth of each group of each layer."""
    anatomy, rng = anatomy_of(model), np.random.default_rng(0)
    indices = {
        (layer, group): rng.choice(anatomy.widths[group], anatomy.widths[group] // 100 + 1, replace=False)
        for layer in range(N_LAYERS)
        for group in ("q", "k", "v", "ffn")
    }
    return NeuronSet.from_indices("x", anatomy.widths, N_LAYERS, indices)
