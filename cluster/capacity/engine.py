"""The inference engine (vLLM): weights and key-value cache of a tensor- and pipeline-parallel rank, and its work.

L layers, G key-value heads, D head dim, V vocabulary, s bytes of a value.
"""

import operator
from dataclasses import astuple, dataclass
from typing import Self

from polyneuron.cluster.capacity.placing import LIBRARIES_DEVICE, Phase, phase
from polyneuron.cluster.capacity.shape import ModelShape
from polyneuron.cluster.memory import GIB, MIB

LIBRARIES_CPU = 720 * MIB
"""Resident memory of an engine's actor before it loads a model, on a CPU."""
LIBRARIES_HOST = 6 * GIB
"""The same with a GPU (assumed)."""
_SCORED_COPIES = 3
"""Logits of a prompt, float32: a prompt's own and their log-softmax are still held while the next one's are computed."""
_TOKENS_CPU, _TOKENS_GPU = 4096, 16384
"""Tokens that vLLM 0.32 computes at once by default: on CPUs, a rank; on a GPU, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineNeed:
    """What is asked of an engine by `evaluation.engine.*`."""

    tensor_parallel: int = 1
    """Ranks among which heads and widths are divided."""
    pipeline_parallel: int = 1
    """Ranks among which layers are divided."""
    on_gpu: bool
    """Whether ranks compute on GPUs."""
    max_model_len: int
    """Tokens of the longest prompt with its answer."""
    max_num_seqs: int
    """Sequences computed at once."""
    cache_bytes: int = 0
    """The key-value cache on a CPU."""
    utilisation: float = 0.0
    """Share of a GPU that vLLM may take."""


@dataclass(frozen=True)
class Requests:
    """What is asked of it. prompt_tokens: computed at once; generated_tokens: one after the other; attended_tokens: those before
    each generated one, whose keys and values are read for it."""

    prompt_tokens: int = 0
    generated_tokens: int = 0
    attended_tokens: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(*map(operator.add, astuple(self), astuple(other)))

    def __mul__(self, times: int) -> Self:
        return type(self)(*(times * n_tokens for n_tokens in astuple(self)))


def cache_token_bytes(shape: ModelShape, need: EngineNeed) -> int:
    """Keys and values of one token on a rank: 2 L G D s over the ranks; a head is not divided, but repeated."""
    heads = max(1, -(-shape.n_kv_heads // need.tensor_parallel))
    layers = -(-shape.n_layers // need.pipeline_parallel)
    return 2 * layers * heads * shape.head_dim * shape.value_bytes


def weights_bytes(shape: ModelShape, need: EngineNeed) -> int:
    """Of a rank: layers over tensor- and pipeline-parallel ranks, embedding and head over tensor-parallel ones."""
    inside = (shape.model_bytes - shape.outside_bytes) // need.pipeline_parallel
    return (inside + shape.outside_bytes) // need.tensor_parallel


def engine_phase(shape: ModelShape, need: EngineNeed, device_bytes: int) -> Phase:
    """A rank that scores prompts, when it is at its fullest. On a GPU the cache is what vLLM's share leaves, at least one prompt
    of `max_model_len`; scoring prompts takes logits outside that share. On a CPU vLLM packs the head's weights for its
    kernels, beside the embedding they are tied to or not."""
    n_ranks = need.tensor_parallel * need.pipeline_parallel
    at_once = _TOKENS_GPU if need.on_gpu else _TOKENS_CPU * n_ranks
    tokens = min(at_once, need.max_num_seqs * need.max_model_len)
    widths = 4 * shape.hidden_size + 3 * shape.ffn_width
    inside = {
        "weights": weights_bytes(shape, need),
        "activations": tokens * widths * shape.value_bytes // need.tensor_parallel,
    }
    scored = {"scored logits": _SCORED_COPIES * 4 * shape.vocabulary * min(tokens, need.max_model_len)}
    if need.on_gpu:
        left = int(need.utilisation * device_bytes) - sum(inside.values()) - LIBRARIES_DEVICE
        cache = {"key-value cache": max(left, need.max_model_len * cache_token_bytes(shape, need))}
        near = {"libraries": LIBRARIES_DEVICE} | inside | cache | scored
        return phase("scoring", True, near, {"libraries": LIBRARIES_HOST})
    packed = shape.vocabulary * shape.hidden_size * shape.value_bytes // need.tensor_parallel
    held = {"packed head": packed, "key-value cache": need.cache_bytes}
    return phase("scoring", False, {"libraries": LIBRARIES_CPU} | inside | held | scored, {})


def engine_flops(shape: ModelShape, requests: Requests) -> float:
    """Two operations a weight and token; the head on prompts too, since they are scored."""
    weights = shape.n_layers * shape.layer_parameters + shape.vocabulary * shape.hidden_size
    return 2.0 * weights * (requests.prompt_tokens + requests.generated_tokens)


def generating_bytes(shape: ModelShape, need: EngineNeed, requests: Requests) -> int:
    """That a rank reads of its memory to generate: all its weights for a token of `max_num_seqs` answers at once, and the cache
    of the tokens before each."""
    steps = -(-requests.generated_tokens // need.max_num_seqs)
    cache = requests.attended_tokens * cache_token_bytes(shape, need)
    return steps * weights_bytes(shape, need) + cache
