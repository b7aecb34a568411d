"""Masked training: a frozen base, whole (ZeRO-2) or sharded (ZeRO-3), and small tensors with gradients and moments.

B blocks of a micro-batch, T tokens of a block, d hidden size, Q and K widths of queries and keys, I feed-forward width,
s bytes of a value of the base; what trains is float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from polyneuron.cluster.capacity.memory import Phase, phase
from polyneuron.cluster.capacity.passes import Corpus, layer_activation_bytes
from polyneuron.cluster.capacity.placing import Placing, gathered, working
from polyneuron.cluster.capacity.shape import ModelShape
from polyneuron.neuron_core.passes.limits import TRAINING_LOGIT_BYTES

_KEPT_PARAMETERS = 500_000_000
"""Parameters that DeepSpeed's ZeRO-3 keeps whole from forward to backward: those used again within the next 1e9
(`stage3_max_reuse_distance`), counted to the last layer and back."""
_BUCKET_BYTES = 4 * 500_000_000
"""DeepSpeed's buffer for gradients on their way; on a CPU only its used pages count."""


@dataclass(frozen=True)
class Training:
    """n_trained: scalars; global_batch, micro_batch: in blocks of `n_tokens`; recomputed_layers: share of the layers."""

    n_trained: int
    n_steps: int
    global_batch: int
    micro_batch: int
    n_tokens: int
    zero_stage: Literal[2, 3]
    recomputed_layers: float

    @property
    def micro_batch_shape(self) -> Corpus:
        """One micro-batch."""
        return Corpus(self.micro_batch, self.n_tokens, self.micro_batch)


def saved_layer_bytes(shape: ModelShape, training: Training) -> int:
    """What a layer keeps of one micro-batch for its backward pass.

    Queries, keys, values (repeated for every query head) and the attention's output, 4 Q; gate, its activation and up, 3 I;
    the inputs of the trained rows, 2 d; the input of each norm in float32 and, with QK-norm, queries and keys once more;
    the mask as T numbers a token. A frozen linear keeps nothing.
    """
    values = 4 * shape.query_width + 3 * shape.ffn_width + 2 * shape.hidden_size + training.n_tokens
    in_float32 = shape.n_norms * shape.hidden_size
    in_float32 += (shape.query_width + shape.kv_width) if shape.qk_norm else 0
    tokens = training.micro_batch * training.n_tokens
    return tokens * (values * shape.value_bytes + in_float32 * 4)


def saved_bytes(shape: ModelShape, training: Training) -> int:
    """Of all layers; a recomputed layer keeps its input, and while it is computed again what it would have kept."""
    one, tokens = saved_layer_bytes(shape, training), training.micro_batch * training.n_tokens
    recomputed = round(training.recomputed_layers * shape.n_layers)
    inputs = recomputed * tokens * shape.hidden_size * shape.value_bytes
    return (shape.n_layers - recomputed) * one + inputs + (one if recomputed else 0)


def optimizer_bytes(placing: Placing, training: Training) -> tuple[int, int]:
    """(trained values and gradients, whole on every rank; moments, master values and reduced gradients, sharded)."""
    return 3 * 4 * training.n_trained, placing.share(4 * 4 * training.n_trained)


def training_phases(shape: ModelShape, placing: Placing, training: Training) -> tuple[Phase, ...]:
    """The end of a forward pass, the backward pass of a layer, and keeping a checkpoint."""
    near, far = working(placing)
    trained, sharded = optimizer_bytes(placing, training)
    logits = int(4 * max(TRAINING_LOGIT_BYTES, 4 * shape.vocabulary))
    gradients = 2 * layer_activation_bytes(shape, training.micro_batch_shape)
    saved = {"kept for backward": saved_bytes(shape, training)}
    in_layers: dict[str, int] = {}
    in_head: dict[str, int] = {}
    if training.zero_stage == 2:
        near = near | {"whole model": shape.model_bytes}
    else:
        shard = {"shard": placing.share(shape.model_bytes)}
        near, far = (
            (near, far | shard) if placing.on_gpu and placing.offload != "none" else (near | shard, far)
        )
        kept = min(shape.n_layers * shape.layer_parameters, max(_KEPT_PARAMETERS, shape.layer_parameters))
        in_layers = gathered(kept * shape.value_bytes, 0, "layers, whole", placing)
        in_head = gathered(shape.after_bytes, shape.after_bytes, "head, whole", placing)
    state = {"trained, gradients": trained}
    moments = {"optimizer": sharded}
    if placing.offload != "none":
        far = far | moments
    else:
        state = state | moments
    if placing.on_gpu:
        state = state | {"DeepSpeed buckets": _BUCKET_BYTES}
    copies = {"checkpoint copies": 3 * 4 * training.n_trained}
    return (
        phase("head", placing.on_gpu, near | state | in_layers | in_head | saved | {"logits": logits}, far),
        phase(
            "backward",
            placing.on_gpu,
            near | state | in_layers | saved | {"layer backward": gradients},
            far,
        ),
        phase("checkpoint", placing.on_gpu, near | state, far | copies),
    )


def training_flops(shape: ModelShape, training: Training) -> float:
    """Of all steps: a forward pass, as much again for the gradients of the hidden states (frozen weights have none), the
    recomputed share, and the head forward and backward. Attention scores cost twice as much backward."""
    tokens = training.n_steps * training.global_batch * training.n_tokens
    layer, scores = 2 * shape.layer_parameters, 4 * shape.query_width * training.n_tokens
    again = training.recomputed_layers
    layers = shape.n_layers * ((2 + again) * layer + (3 + again) * scores)
    return tokens * (layers + 4 * shape.vocabulary * shape.hidden_size)


def moved_in_training(shape: ModelShape, placing: Placing, training: Training) -> int:
    """Bytes between a rank's host and device: with offloaded ZeRO-3 shards, its share twice a micro-batch; with an offloaded
    optimizer, gradients and values once a step."""
    if not placing.on_gpu or placing.offload == "none":
        return 0
    rounds = training.n_steps * placing.share(-(-training.global_batch // training.micro_batch))
    weights = 2 * rounds * placing.share(shape.model_bytes) if training.zero_stage == 3 else 0
    return weights + training.n_steps * placing.share(2 * 4 * training.n_trained)


def gathered_in_training(shape: ModelShape, placing: Placing, training: Training) -> int:
    """Bytes a rank receives: under ZeRO-3 every module around its forward and its backward pass, for every micro-batch;
    gradients of the trained values at every step."""
    gradients = 2 * 4 * training.n_trained * training.n_steps
    share = (placing.world_size - 1) / placing.world_size
    rounds = training.n_steps * placing.share(-(-training.global_batch // training.micro_batch))
    weights = 2 * rounds * shape.model_bytes if training.zero_stage == 3 else 0
    return int((gradients + weights) * share)
