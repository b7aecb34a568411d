"""What one decoder layer computes inside, recorded while the layer runs: hooks and a recording attention function.

The hooks raise when a hook point does not resolve and are gone when the context is left. Attention is recomputed here with
explicit weights, since no fused kernel returns them; queries, keys and values are the model's own, after RoPE and QK-norm.
Shapes: B sentences, T tokens, H query heads, G key-value heads, D head dim, I feed-forward width, R rotary dims.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from polyneuron.neuron_core.model.anatomy import Anatomy

_RECORDING = "polyneuron_recording"


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionRecord:
    """Attention of one layer over a micro-batch, in float32 (float64 models stay float64)."""

    query_BHTD: Tensor
    """Queries after QK-norm and RoPE."""
    key_BGTD: Tensor
    """Keys after QK-norm and RoPE."""
    value_BGTD: Tensor
    """Values."""
    scores_BHTT: Tensor
    """Scaled scores, before soft-cap and mask."""
    allowed_BTT: Tensor
    """bool, what the mask lets through."""
    weights_BHTT: Tensor
    """Attention weights."""
    scaling: float
    """What products of queries and keys are multiplied by."""
    softcap: float | None
    """Soft-cap of the scores."""


class LayerRecord:
    """Everything the impact formulas need of one layer and one micro-batch; filled while the layer runs. heads: input of
    o_proj [B, T, H*D]; ffn: input of down_proj [B, T, I]. Only with scores: q, k [B, T, H*D or G*D], projections before
    RoPE and after QK-norm; q_raw, k_raw: before QK-norm, where the family has one; cos_sin: rotary tables [1 or B, T, R];
    attention."""

    heads: Tensor
    ffn: Tensor
    q: Tensor
    k: Tensor
    q_raw: Tensor
    k_raw: Tensor
    cos_sin: tuple[Tensor, Tensor]
    attention: AttentionRecord


_recording: dict[nn.Module, LayerRecord] = {}


def _recording_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention with explicit weights, in the form transformers calls it. Returns heads [B, T, H, D]."""
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    q, k, v = query.to(dtype), key.to(dtype), value.to(dtype)
    n_batch, n_heads, length, head_dim = q.shape
    shared = n_heads // k.shape[1]
    grouped = q.reshape(n_batch, k.shape[1], shared * length, head_dim)
    scores = (grouped @ k.mT).mul_(scaling).view(n_batch, n_heads, length, length)
    if attention_mask is None:
        allowed = torch.ones(length, length, dtype=torch.bool, device=q.device).tril_()[None]
    else:
        allowed = attention_mask[:, 0]
    allowed = allowed.expand(n_batch, length, length)
    capped = scores if softcap is None else softcap * torch.tanh(scores / softcap)
    weights = torch.softmax(capped.masked_fill(~allowed[:, None], torch.finfo(dtype).min), dim=-1)
    output = (weights.view(n_batch, k.shape[1], shared * length, length) @ v).view(q.shape)
    _recording[module].attention = AttentionRecord(
        query_BHTD=q,
        key_BGTD=k,
        value_BGTD=v,
        scores_BHTT=scores,
        allowed_BTT=allowed,
        weights_BHTT=weights,
        scaling=scaling,
        softcap=softcap,
    )
    return output.transpose(1, 2).to(query.dtype), None


@cache
def recording_attention() -> str:
    """The name under which transformers knows the attention that records. Only who runs a model loads transformers for it."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(_RECORDING, _recording_attention)
    AttentionMaskInterface.register(_RECORDING, sdpa_mask)
    return _RECORDING


@contextmanager
def recorded(layer: nn.Module, anatomy: Anatomy, with_scores: bool) -> Iterator[LayerRecord]:
    """Records one run of `layer`. `with_scores` also records queries, keys and attention (inside `attention_replaced`).
    Raises AttributeError when a module the anatomy declares does not exist."""
    record, family = LayerRecord(), anatomy.family
    attention, mlp = layer.get_submodule(family.attention), layer.get_submodule(family.mlp)
    with ExitStack() as hooks:
        for module, name in (
            (attention.get_submodule("o_proj"), "heads"),
            (mlp.get_submodule("down_proj"), "ffn"),
        ):
            hooks.enter_context(module.register_forward_pre_hook(_keep_input(record, name)))
        if with_scores:
            hooks.enter_context(attention.register_forward_pre_hook(_keep_rotary(record), with_kwargs=True))
            for name, hook in _projection_hooks(anatomy, record).items():
                hooks.enter_context(attention.get_submodule(name).register_forward_hook(hook))
        _recording[attention] = record
        hooks.callback(_recording.pop, attention)
        yield record


def _keep_input(record: LayerRecord, name: str) -> Callable[..., None]:
    return lambda module, args: setattr(record, name, args[0])


def _keep_rotary(record: LayerRecord) -> Callable[..., None]:
    return lambda module, args, kwargs: setattr(record, "cos_sin", kwargs["position_embeddings"])


def _projection_hooks(anatomy: Anatomy, record: LayerRecord) -> dict[str, Callable[..., None]]:
    """By the attention block's submodule, what keeps its output."""
    family, widths = anatomy.family, anatomy.widths

    def split(module: nn.Module, args: Any, output: Tensor) -> None:
        record.q, record.k, _ = output.split([widths["q"], widths["k"], widths["v"]], dim=-1)

    def keep(name: str, heads_first: bool = False) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Tensor) -> None:
            setattr(record, name, (output.transpose(1, 2) if heads_first else output).flatten(2))

        return hook

    if family.fused:
        return {"qkv_proj": split}
    if family.qk_norm is None:
        return {f"{side}_proj": keep(side) for side in "qk"}
    norms = {f"{side}_norm": keep(side, family.norm_heads_first) for side in "qk"}
    return norms | {f"{side}_proj": keep(f"{side}_raw") for side in "qk"}
