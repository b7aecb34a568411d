"""Anatomy: a Hugging Face causal LM seen as layers, groups of neurons, widths and weight axes (paper A, section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polyneuron.neuron_core.common.errors import UnsupportedArchitecture
from polyneuron.neuron_core.model.families import Family, family_of, supported
from polyneuron.neuron_core.model.groups import GROUPS

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class WeightSlice:
    """Where the neurons of one group live in one parameter of a layer. `parameter` is the path inside the layer. Neuron n
    is row (`axis` 0) or column (`axis` 1) `offset + n`; a bias has axis 0."""

    parameter: str
    axis: int
    offset: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """Layers, groups, widths and weight axes of one model. Made by `anatomy_of`."""

    family: Family
    """What its family differs in."""
    model_type: str
    """The `model_type` of its config."""
    n_layers: int
    """Decoder layers."""
    hidden_size: int
    """Width of the hidden states."""
    n_heads: int
    """Query heads of a layer."""
    n_kv_heads: int
    """Key-value heads of a layer."""
    head_dim: int
    """Width of a head."""
    ffn_width: int
    """Neurons of a layer's feed-forward block."""
    attention_bias: bool
    """Whether q, k and v projections carry biases, which a deactivated neuron loses too."""
    activation: str
    """transformers' name of the activation function: silu, gelu_pytorch_tanh."""
    score_cap: float | None
    """Soft-cap of the attention scores."""
    logit_cap: float | None
    """Soft-cap of the logits."""

    @property
    def attention_implementation(self) -> str:
        """transformers' attention that computes this model: fused attention ignores a soft-cap on the scores."""
        return "eager" if self.score_cap else "sdpa"

    @property
    def widths(self) -> dict[str, int]:
        """Neurons per layer of each group. Under GQA there are fewer k and v neurons than q."""
        q, kv = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        return {"q": q, "k": kv, "v": kv, "ffn": self.ffn_width, "o": q}

    @property
    def heads_per_kv(self) -> int:
        """Query heads that share one key-value head."""
        return self.n_heads // self.n_kv_heads

    def slices(self, group: str) -> tuple[WeightSlice, ...]:
        """Every parameter slice that is zeroed when a neuron of `group` is deactivated, biases included."""
        attention, mlp, widths = self.family.attention, self.family.mlp, self.widths
        if group == "o":
            return (WeightSlice(f"{attention}.o_proj.weight", 1),)
        if group == "ffn":
            down = WeightSlice(f"{mlp}.down_proj.weight", 1)
            if self.family.fused:
                fused = f"{mlp}.gate_up_proj.weight"
                return (WeightSlice(fused, 0), WeightSlice(fused, 0, self.ffn_width), down)
            return (WeightSlice(f"{mlp}.gate_proj.weight", 0), WeightSlice(f"{mlp}.up_proj.weight", 0), down)
        offset = {"q": 0, "k": widths["q"], "v": widths["q"] + widths["k"]}[group] if self.family.fused else 0
        module = f"{attention}.qkv_proj" if self.family.fused else f"{attention}.{group}_proj"
        weight = WeightSlice(f"{module}.weight", 0, offset)
        return (weight, WeightSlice(f"{module}.bias", 0, offset)) if self.attention_bias else (weight,)

    def parameter_name(self, layer: int, part: WeightSlice) -> str:
        """The name of `part`'s parameter in `model.named_parameters()`."""
        return f"{self.family.layers_path}.{layer}.{part.parameter}"

    def layers(self, model: nn.Module) -> nn.ModuleList:
        """The decoder layers of `model`, in order."""
        layers: nn.ModuleList = model.get_submodule(self.family.layers_path)  # type: ignore[assignment]
        return layers


def anatomy_of(model_or_config: Any) -> Anatomy:
    """Reads the anatomy of a model or of its config; an anatomy is returned as it is. Raises UnsupportedArchitecture when
    the family is not declared, or a live model lacks a declared parameter. The message names the architecture, what was
    looked for, and the supported families."""
    if isinstance(model_or_config, Anatomy):
        return model_or_config
    config = getattr(model_or_config, "config", model_or_config)
    model_type = getattr(config, "model_type", type(config).__name__)
    family = family_of(model_type)
    if family is None:
        named = ", ".join(getattr(config, "architectures", None) or []) or type(model_or_config).__name__
        raise UnsupportedArchitecture(
            f"The architecture {named} (model_type {model_type!r}) is not supported: no family in "
            f"neuron_core/model/families.py declares its model_type. Supported: {supported()}."
        )
    text = config.get_text_config()
    anatomy = Anatomy(
        family=family,
        model_type=model_type,
        n_layers=text.num_hidden_layers,
        hidden_size=text.hidden_size,
        n_heads=text.num_attention_heads,
        n_kv_heads=text.num_key_value_heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
        ffn_width=text.intermediate_size,
        attention_bias=family.biased or bool(getattr(text, "attention_bias", False)),
        activation=getattr(text, family.activation_key),
        score_cap=text.attn_logit_softcapping if family.caps_scores else None,
        logit_cap=text.final_logit_softcapping if family.caps_logits else None,
    )
    if model_or_config is not config:
        _check_parameters(model_or_config, anatomy)
    return anatomy


def _check_parameters(model: nn.Module, anatomy: Anatomy) -> None:
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    wanted = {anatomy.parameter_name(0, part) for group in GROUPS for part in anatomy.slices(group)}
    if missing := sorted(wanted - names):
        raise UnsupportedArchitecture(
            f"{type(model).__name__} calls itself {anatomy.model_type!r} ({anatomy.family.name}) but lacks "
            f"{', '.join(missing)}. Supported: {supported()}."
        )
