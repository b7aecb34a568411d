"""The supported model families, one small declaration each.

To add a family: give its `model_type` values and say where it differs from Llama. Everything else (detection,
edits, training, export) reads the resulting `Anatomy`. Imports nothing heavy.
"""

from dataclasses import dataclass, replace
from typing import Literal

QkNorm = Literal["head", "full"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """How the models of one family differ from Llama, which the defaults describe. Nothing else asks which family it has."""

    name: str
    """What messages and reports call it."""
    model_types: tuple[str, ...]
    """The values of `model_type` in the configs of its models."""
    auto_class: str = "AutoModelForCausalLM"
    """transformers' class that makes a model of its configs."""
    layers_path: str = "model.layers"
    """Where the model keeps its decoder layers."""
    attention: str = "self_attn"
    """The attention block, inside a layer."""
    mlp: str = "mlp"
    """The feed-forward block, inside a layer."""
    activation: str = "act_fn"
    """The activation function, inside the feed-forward block."""
    activation_key: str = "hidden_act"
    """The key of the config that names the activation function."""
    fused: bool = False
    """Whether a layer has one qkv_proj (rows q, k, v) and one gate_up_proj (rows gate, up)."""
    biased: bool = False
    """Whether q, k and v have biases in every model; of the other families the flags `attention_bias` and `mlp_bias` of
    their configs say so, where they have such flags."""
    qk_norm: QkNorm | None = None
    """The width over which queries and keys are normalised before RoPE: one head, or the whole projection."""
    norm_heads_first: bool = False
    """Whether the norm of one head is applied to [B, heads, T, D] rather than [B, T, heads, D]."""
    norms_after: bool = False
    """Whether what attention and feed-forward block add is normalised first, by post_attention_layernorm and
    post_feedforward_layernorm; in the other families the former, for all its name, comes before the feed-forward block."""
    norm_eps: str = "variance_epsilon"
    """The attribute of a norm that holds what is added to the mean square."""
    caps_scores: bool = False
    """Whether attention scores have the soft-cap `attn_logit_softcapping` of the config."""
    caps_logits: bool = False
    """Whether logits have the soft-cap `final_logit_softcapping` of the config."""
    mask_per_kind: bool = False
    """Whether the model takes a mask for each kind of layer, and would give a single one to all of them as it is; the others
    have one kind of layer and take one mask."""


_GEMMA_3 = Family(
    name="Gemma 3",
    model_types=("gemma3_text",),
    activation_key="hidden_activation",
    qk_norm="head",
    norm_heads_first=True,
    norms_after=True,
    norm_eps="eps",
    caps_logits=True,
    mask_per_kind=True,
)

FAMILIES: tuple[Family, ...] = (
    Family(name="Llama 2/3", model_types=("llama",)),
    Family(name="Mistral", model_types=("mistral",)),
    Family(name="Qwen2/2.5", model_types=("qwen2",), biased=True, mask_per_kind=True),
    Family(name="Qwen3", model_types=("qwen3",), qk_norm="head", mask_per_kind=True),
    Family(name="Gemma 1", model_types=("gemma",)),
    Family(
        name="Gemma 2",
        model_types=("gemma2",),
        activation_key="hidden_activation",
        norms_after=True,
        caps_scores=True,
        caps_logits=True,
        mask_per_kind=True,
    ),
    _GEMMA_3,
    replace(
        _GEMMA_3,
        name="Gemma 3 multimodal",
        model_types=("gemma3",),
        auto_class="AutoModelForImageTextToText",
        layers_path="model.language_model.layers",
    ),
    Family(name="OLMo 2", model_types=("olmo2",), qk_norm="full", norms_after=True),
    Family(name="Phi-3", model_types=("phi3",), activation="activation_fn", fused=True),
)


def family_of(model_type: str) -> Family | None:
    """The family that declares `model_type`, or None."""
    return next((family for family in FAMILIES if model_type in family.model_types), None)


def supported() -> str:
    """One line that names every supported family, for messages."""
    return ", ".join(f"{family.name} ({'/'.join(family.model_types)})" for family in FAMILIES)
