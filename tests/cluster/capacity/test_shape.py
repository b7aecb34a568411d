"""Published models: parameters as their cards say, from their configs alone."""

from pathlib import Path

import pytest

from polyneuron.cluster.capacity.engine import (
    EngineNeed,
    Requests,
    cache_token_bytes,
    generating_bytes,
    weights_bytes,
)
from polyneuron.cluster.capacity.shape import ModelShape, shape_of
from polyneuron.neuron_core.model.opening import load_config
from tests.tiny_models import TINY, tiny_model

SHAPES = Path(__file__).parents[2] / "shapes"


def published(name: str) -> ModelShape:
    return shape_of(load_config(SHAPES / name), "bfloat16")


def need_of(tensor_parallel: int) -> EngineNeed:
    return EngineNeed(
        tensor_parallel=tensor_parallel, on_gpu=True, max_model_len=4096, max_num_seqs=64, utilisation=0.85
    )


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [("llama-3.1-70b", 70_553_706_496, 70.6), ("qwen2.5-72b", 72_706_203_648, 72.7)],
)
def test_parameters_are_the_published_ones(name: str, parameters: int, said: float) -> None:
    shape = published(name)
    assert shape.parameters == parameters
    assert round(shape.parameters / 1e9, 1) == said
    assert shape.parameters == 80 * shape.layer_parameters + shape.outside_parameters


def test_the_cache_of_a_token_by_hand() -> None:
    """2 (keys, values) x 80 layers x 8 heads x 128 x 2 bytes; a rank of 16 still holds one head."""
    shape = published("llama-3.1-70b")
    by_ranks = {n: need_of(n) for n in (1, 8, 16)}
    assert [cache_token_bytes(shape, need) for need in by_ranks.values()] == [327_680, 40_960, 40_960]
    assert weights_bytes(shape, by_ranks[8]) == pytest.approx(shape.model_bytes / 8, abs=1)


def test_generating_reads_the_weights_once_a_step_and_the_cache_once_a_token() -> None:
    """100 answers of 10 tokens after prompts of 1,000, 64 at once; a rank of 8 has an eighth of the weights and of the heads."""
    shape, need = published("llama-3.1-70b"), need_of(8)
    asked = Requests(1000, 10, 10 * (1000 + 5)) * 100
    weights = 16 * weights_bytes(shape, need)  # 1,000 tokens, 64 at a time
    assert generating_bytes(shape, need, asked) == weights + 100 * 10 * 1005 * 40_960


@pytest.mark.parametrize("name", TINY)
def test_counts_are_those_of_the_model(name: str) -> None:
    model = tiny_model(name)
    shape = shape_of(model.config, "float32")
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert shape.tied == (model.get_input_embeddings().weight is model.get_output_embeddings().weight)
