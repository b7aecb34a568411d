"""The supported model families, one small declaration each.

To add a family: give its `model_type` values and say where it differs from Llama. Everything else (detection,
edits, training, export) reads the resulting `Anatomy`. Imports nothing heavy.
"""

from dataclasses import dataclass
from typing import Literal

QkNorm = Literal["head", "full"]


@dataclass(frozen=True)
class Family:
    """Where a decoder layer keeps its attention and feed-forward weights.

    `activation` is the feed-forward block's activation function, inside `mlp`.

    `qk_norm` says over what width queries and keys are normalised before RoPE: one head (Qwen3, Gemma 3) or
    the whole projection (OLMo 2). `fused` means one qkv_proj (rows q, k, v) and one gate_up_proj (rows gate,
    up).
    """

    name: str
    model_types: tuple[str, ...]
    layers_path: str = "model.layers"
    attention: str = "self_attn"
    mlp: str = "mlp"
    activation: str = "act_fn"
    fused: bool = False
    qk_norm: QkNorm | None = None
    norm_heads_first: bool = False
    """Whether the per-head norm is applied to [B, heads, T, D] (Gemma 3) rather than [B, T, heads, D] (Qwen3)."""


FAMILIES: tuple[Family, ...] = (
    Family("Llama 2/3", ("llama",)),
    Family("Mistral", ("mistral",)),
    Family("Qwen2/2.5", ("qwen2",)),
    Family("Qwen3", ("qwen3",), qk_norm="head"),
    Family("Gemma 1", ("gemma",)),
    Family("Gemma 2", ("gemma2",)),
    Family("Gemma 3", ("gemma3_text",), qk_norm="head", norm_heads_first=True),
    Family(
        "Gemma 3 multimodal",
        ("gemma3",),
        layers_path="model.language_model.layers",
        qk_norm="head",
        norm_heads_first=True,
    ),
    Family("OLMo 2", ("olmo2",), qk_norm="full"),
    Family("Phi-3", ("phi3",), activation="activation_fn", fused=True),
)


def family_of(model_type: str) -> Family | None:
    """The family that declares `model_type`, or None."""
    return next((family for family in FAMILIES if model_type in family.model_types), None)


def supported() -> str:
    """One line that names every supported family, for messages."""
    return ", ".join(f"{family.name} ({'/'.join(family.model_types)})" for family in FAMILIES)
