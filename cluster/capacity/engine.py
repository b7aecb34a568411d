"""The inference engine (vLLM): weights and key-value cache of a tensor- and pipeline-parallel rank, and its work.

L layers, G key-value heads, D head dim, V vocabulary, s bytes of a value.
"""

from __future__ import annotations

from dataclasses import dataclass

from polyneuron.cluster.capacity.memory import GIB, MIB, Phase, phase
from polyneuron.cluster.capacity.shape import ModelShape

LIBRARIES_CPU = 720 * MIB
"""Resident memory of an engine's actor before it loads a model, on a CPU."""
_TOKENIZERS = 2 * 1100
"""Bytes a token of the vocabulary: vLLM and lm-eval each load the tokenizer (measured with Gemma's 262,144 tokens)."""
_SCORED_COPIES = 3
"""Logits of a prompt, float32: a prompt's own and their log-softmax are still held while the next one's are computed."""
LIBRARIES_HOST = 6 * GIB
"""The same with a GPU (assumed)."""
LIBRARIES_DEVICE = int(1.5 * GIB)
"""CUDA context and NCCL buffers (assumed)."""
_TOKENS_CPU, _TOKENS_SMALL, _TOKENS_LARGE = 4096, 8192, 16384
"""Tokens that vLLM 0.32 computes at once by default: on CPUs, a rank; on a GPU; on a GPU with 70 GiB (an A100 with 80 takes the
smaller figure, and is planned like the others)."""
_LARGE_BYTES = 70 * GIB


@dataclass(frozen=True)
class EngineNeed:
    """As `evaluation.engine.*`. utilisation: share of a GPU that vLLM may take; cache_bytes: on a CPU."""

    tensor_parallel: int
    pipeline_parallel: int
    on_gpu: bool
    max_model_len: int
    max_num_seqs: int
    cache_bytes: int
    utilisation: float


@dataclass(frozen=True)
class Requests:
    """What is asked of it. prompt_tokens: computed at once; generated_tokens: one after the other; attended_tokens: those before
    each generated one, whose keys and values are read for it."""

    prompt_tokens: int = 0
    generated_tokens: int = 0
    attended_tokens: int = 0

    def __add__(self, other: Requests) -> Requests:
        return Requests(
            self.prompt_tokens + other.prompt_tokens,
            self.generated_tokens + other.generated_tokens,
            self.attended_tokens + other.attended_tokens,
        )

    def __mul__(self, times: int) -> Requests:
        return Requests(
            times * self.prompt_tokens, times * self.generated_tokens, times * self.attended_tokens
        )


def cache_token_bytes(shape: ModelShape, need: EngineNeed) -> int:
    """Keys and values of one token on a rank: 2 L G D s over the ranks; a head is not divided, but repeated."""
    heads = max(1, -(-shape.n_kv_heads // need.tensor_parallel))
    layers = -(-shape.n_layers // need.pipeline_parallel)
    return 2 * layers * heads * shape.head_dim * shape.value_bytes


def weights_bytes(shape: ModelShape, need: EngineNeed) -> int:
    """Of a rank: layers over tensor- and pipeline-parallel ranks, embedding and head over tensor-parallel ones."""
    inside = (shape.model_bytes - shape.outside_bytes) // need.pipeline_parallel
    return (inside + shape.outside_bytes) // need.tensor_parallel


def engine_phases(shape: ModelShape, need: EngineNeed, device_bytes: int) -> tuple[Phase, ...]:
    """Of a rank. On a GPU the cache is what vLLM's share leaves, at least one prompt of `max_model_len`; scoring prompts
    takes logits outside that share. On a CPU vLLM packs the head's weights for its kernels, beside the embedding they are
    tied to or not."""
    if need.on_gpu:
        at_once = _TOKENS_LARGE if device_bytes >= _LARGE_BYTES else _TOKENS_SMALL
    else:
        at_once = _TOKENS_CPU * need.tensor_parallel * need.pipeline_parallel
    tokens = min(at_once, need.max_num_seqs * need.max_model_len)
    running = (
        tokens * (4 * shape.hidden_size + 3 * shape.ffn_width) * shape.value_bytes // need.tensor_parallel
    )
    inside = {"weights": weights_bytes(shape, need), "activations": running}
    scored = {"scored logits": _SCORED_COPIES * 4 * shape.vocabulary * min(tokens, need.max_model_len)}
    if not need.on_gpu:
        near = {"libraries": LIBRARIES_CPU, "tokenizers": _TOKENIZERS * shape.vocabulary} | inside
        near |= {
            "packed head": shape.vocabulary * shape.hidden_size * shape.value_bytes // need.tensor_parallel
        }
        near |= {"key-value cache": need.cache_bytes} | scored
        return (phase("scoring", False, near, {}),)
    left = int(need.utilisation * device_bytes) - sum(inside.values()) - LIBRARIES_DEVICE
    cache = max(left, need.max_model_len * cache_token_bytes(shape, need))
    near = {"libraries": LIBRARIES_DEVICE} | inside | {"key-value cache": cache} | scored
    return (phase("scoring", True, near, {"libraries": LIBRARIES_HOST}),)


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
