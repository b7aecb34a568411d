"""Masked training: a frozen base, whole (ZeRO-2) or sharded (ZeRO-3), and small tensors with gradients and moments.

B blocks of a micro-batch, T tokens of a block, d hidden size, Q and K widths of queries and keys, I feed-forward width,
s bytes of a value of the base; what trains is float32.
"""

from dataclasses import dataclass
from typing import Literal

from polyneuron.cluster.capacity.passes import Corpus, layer_activation_bytes
from polyneuron.cluster.capacity.placing import Phase, Placing
from polyneuron.cluster.capacity.shape import ModelShape
from polyneuron.neuron_core.passes.limits import TRAINING_LOGIT_BYTES

_KEPT_PARAMETERS = 500_000_000
"""Parameters that DeepSpeed's ZeRO-3 keeps whole from forward to backward: those used again within the next 1e9
(`stage3_max_reuse_distance`), counted to the last layer and back."""
_BUCKET_BYTES = 4 * 500_000_000
"""DeepSpeed's buffer for gradients on their way; on a CPU only its used pages count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedTraining:
    """One training, as far as its cost depends on it."""

    n_trained: int
    """Scalars that train."""
    n_steps: int
    """Optimizer steps."""
    global_batch: int
    """Blocks of a step."""
    micro_batch: int
    """Blocks that a rank computes at once."""
    n_tokens: int
    """Tokens of a block."""
    zero_stage: Literal[2, 3]
    """Whether the base is whole on every rank (2) or sharded (3)."""
    recomputed_layers: float
    """Share of the layers that run again in the backward pass."""

    @property
    def micro_tokens(self) -> int:
        """Tokens of a micro-batch."""
        return self.micro_batch * self.n_tokens

    def n_rounds(self, where: Placing) -> int:
        """Returns how many micro-batches a rank computes in all steps."""
        return self.n_steps * where.share(-(-self.global_batch // self.micro_batch))


def saved_layer_bytes(shape: ModelShape, training: PlannedTraining) -> int:
    """What a layer keeps of one micro-batch for its backward pass.

    Queries, keys, values (repeated for every query head) and the attention's output, 4 Q; gate, its activation and up, 3 I;
    the inputs of the trained rows, 2 d; the input of each norm in float32 and, with QK-norm, queries and keys once more;
    the mask as T numbers a token. A frozen linear keeps nothing.
    """
    values = 4 * shape.query_width + 3 * shape.ffn_width + 2 * shape.hidden_size + training.n_tokens
    in_float32 = shape.n_norms * shape.hidden_size
    in_float32 += (shape.query_width + shape.kv_width) if shape.qk_norm else 0
    return training.micro_tokens * (values * shape.value_bytes + in_float32 * 4)


def saved_bytes(shape: ModelShape, training: PlannedTraining) -> int:
    """Of all layers; a recomputed layer keeps its input, and while it is computed again what it would have kept."""
    of_layer, recomputed = (
        saved_layer_bytes(shape, training),
        round(training.recomputed_layers * shape.n_layers),
    )
    inputs = recomputed * training.micro_tokens * shape.hidden_size * shape.value_bytes
    return (shape.n_layers - recomputed + bool(recomputed)) * of_layer + inputs


def training_phases(where: Placing, training: PlannedTraining) -> tuple[Phase, ...]:
    """The end of a forward pass, the backward pass of a layer, and keeping a checkpoint. Trained values and gradients are
    whole on every rank; moments, master values and reduced gradients are sharded."""
    shape, trained = where.shape, 4 * training.n_trained
    state = {"trained, gradients": 3 * trained}
    moments = {"optimizer": where.share(4 * trained)}
    near, far = (state, moments) if where.offload != "none" else (state | moments, {})
    if where.on_gpu:
        near = near | {"DeepSpeed buckets": _BUCKET_BYTES}
    in_layers, in_head = dict[str, int](), dict[str, int]()
    if training.zero_stage == 3:
        kept = min(shape.n_layers * shape.layer_parameters, max(_KEPT_PARAMETERS, shape.layer_parameters))
        in_layers = where.whole("layers, whole", kept * shape.value_bytes, 0)
        in_head = where.whole("head, whole", shape.after_bytes, shape.after_bytes)
    saved = {"kept for backward": saved_bytes(shape, training)}
    logits = {"logits": 4 * max(TRAINING_LOGIT_BYTES, 4 * shape.vocabulary)}
    micro_batch = Corpus(training.micro_batch, training.n_tokens, training.micro_batch)
    gradients = {"layer backward": 2 * layer_activation_bytes(shape, micro_batch)}
    whole_model = training.zero_stage == 2
    return tuple(
        where.phase(name, near | computing, far | waiting, whole_model=whole_model)
        for name, computing, waiting in (
            ("head", in_layers | in_head | saved | logits, {}),
            ("backward", in_layers | saved | gradients, {}),
            ("checkpoint", {}, {"checkpoint copies": 3 * trained}),
        )
    )


def training_flops(shape: ModelShape, training: PlannedTraining) -> float:
    """Of all steps: a forward pass, as much again for the gradients of the hidden states (frozen weights have none), the
    recomputed share, and the head forward and backward. Attention scores cost twice as much backward."""
    tokens = training.n_steps * training.global_batch * training.n_tokens
    layer, scores = 2 * shape.layer_parameters, 4 * shape.query_width * training.n_tokens
    again = training.recomputed_layers
    layers = shape.n_layers * ((2 + again) * layer + (3 + again) * scores)
    return tokens * (layers + 4 * shape.vocabulary * shape.hidden_size)


def moved_in_training(where: Placing, training: PlannedTraining) -> int:
    """Bytes between a rank's host and device: with offloaded ZeRO-3 shards, its share of all that is made whole; with an
    offloaded optimizer, gradients and values once a step."""
    if not where.offloads:
        return 0
    shards = training.n_rounds(where) * where.share(_made_whole(where.shape, training))
    optimizer = training.n_steps * where.share(2 * 4 * training.n_trained)
    return optimizer + (shards if training.zero_stage == 3 else 0)


def gathered_in_training(where: Placing, training: PlannedTraining) -> int:
    """Bytes a rank receives in all steps. Of n bytes that are made whole, or added up and sharded, it receives (W - 1) / W.

    For every micro-batch, under ZeRO-3 what `_made_whole` says, and gradients of the trained values added up and sharded; under
    ZeRO-2 these are added up and kept whole, which is twice as much. At every step the new values, whole."""
    trained, in_round = 4 * training.n_trained, 2 * 4 * training.n_trained
    if training.zero_stage == 3:
        in_round = _made_whole(where.shape, training) + trained
    in_all = training.n_rounds(where) * in_round + training.n_steps * trained
    return in_all * (where.world_size - 1) // where.world_size


def _made_whole(shape: ModelShape, training: PlannedTraining) -> int:
    """Bytes of weights that ZeRO-3 makes whole for one micro-batch: every module for its forward and again for its backward pass,
    layers that are recomputed once more. At most: what DeepSpeed keeps from one to the next (`_KEPT_PARAMETERS`) counts twice."""
    again = round(training.recomputed_layers * shape.n_layers) * shape.layer_bytes
    return 2 * shape.model_bytes + again
