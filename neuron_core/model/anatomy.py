"""Anatomy: a Hugging Face causal LM seen as layers, groups of neurons, widths and weight axes (paper A, section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    biases: frozenset[str]
    """The biases of q, k, v, gate and up projections that the model has, as paths inside a layer; a deactivated neuron loses
    its own. Read off a live model's parameters; of a config, what its flags stand for."""
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
            fused = f"{mlp}.gate_up_proj"
            gate, up = (fused, fused) if self.family.fused else (f"{mlp}.gate_proj", f"{mlp}.up_proj")
            rows = (*self._rows(gate), *self._rows(up, self.ffn_width if self.family.fused else 0))
            return (*rows, WeightSlice(f"{mlp}.down_proj.weight", 1))
        offset = {"q": 0, "k": widths["q"], "v": widths["q"] + widths["k"]}[group] if self.family.fused else 0
        return self._rows(f"{attention}.{'qkv' if self.family.fused else group}_proj", offset)

    def _rows(self, linear: str, offset: int = 0) -> tuple[WeightSlice, ...]:
        """Rows of a linear's weight, and their biases where it has any."""
        weight, bias = WeightSlice(f"{linear}.weight", 0, offset), f"{linear}.bias"
        return (weight, WeightSlice(bias, 0, offset)) if bias in self.biases else (weight,)

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
    if getattr(text, "use_bidirectional_attention", False) or not getattr(text, "is_causal", True):
        raise UnsupportedArchitecture(
            f"The config of this {model_type!r} model lets tokens attend to later ones (use_bidirectional_attention, is_causal): "
            "it is an encoder. Supported are causal language models"
        )
    anatomy = Anatomy(
        family=family,
        model_type=model_type,
        n_layers=text.num_hidden_layers,
        hidden_size=text.hidden_size,
        n_heads=text.num_attention_heads,
        n_kv_heads=text.num_key_value_heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
        ffn_width=text.intermediate_size,
        biases=_biases_of_flags(family, text),
        activation=getattr(text, family.activation_key),
        score_cap=text.attn_logit_softcapping if family.caps_scores else None,
        logit_cap=text.final_logit_softcapping if family.caps_logits else None,
    )
    if model_or_config is not config:
        anatomy = replace(anatomy, biases=_biases_of_parameters(model_or_config, anatomy))
        _check_parameters(model_or_config, anatomy)
    return anatomy


def _row_linears(family: Family) -> tuple[list[str], list[str]]:
    """The linears of attention and feed-forward block whose rows are neurons, as paths inside a layer."""
    attention = ("qkv_proj",) if family.fused else ("q_proj", "k_proj", "v_proj")
    mlp = ("gate_up_proj",) if family.fused else ("gate_proj", "up_proj")
    return [f"{family.attention}.{name}" for name in attention], [f"{family.mlp}.{name}" for name in mlp]


def _biases_of_flags(family: Family, text: Any) -> frozenset[str]:
    """Only flags that the family's config declares count: a class that has none makes no biases, whatever the file says."""
    attention, mlp = _row_linears(family)

    def flag(name: str) -> bool:
        return hasattr(type(text), name) and bool(getattr(text, name))

    biased = (attention if family.biased or flag("attention_bias") else []) + (
        mlp if flag("mlp_bias") else []
    )
    return frozenset(f"{linear}.bias" for linear in biased)


def _biases_of_parameters(model: nn.Module, anatomy: Anatomy) -> frozenset[str]:
    """Raises UnsupportedArchitecture when layers differ in what has a bias."""
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    linears = [linear for part in _row_linears(anatomy.family) for linear in part]
    path = anatomy.family.layers_path
    of_layers = [
        frozenset(f"{linear}.bias" for linear in linears if f"{path}.{layer}.{linear}.bias" in names)
        for layer in range(anatomy.n_layers)
    ]
    if len(set(of_layers)) > 1:
        raise UnsupportedArchitecture(
            f"{type(model).__name__} has biases in some layers that others lack ({path}); neurons are "
            "taken to own the same in every layer"
        )
    return of_layers[0]


def _check_parameters(model: nn.Module, anatomy: Anatomy) -> None:
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    wanted = {anatomy.parameter_name(0, part) for group in GROUPS for part in anatomy.slices(group)}
    if missing := sorted(wanted - names):
        raise UnsupportedArchitecture(
            f"{type(model).__name__} calls itself {anatomy.model_type!r} ({anatomy.family.name}) but lacks "
            f"{', '.join(missing)}. Supported: {supported()}."
        )
