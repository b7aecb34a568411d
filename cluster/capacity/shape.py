"""The numbers of a model that its cost depends on, read from its config on the meta device: no weights, no memory."""

import re
from dataclasses import dataclass
from typing import Any

VALUE_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """Sizes of one model. A part of it that is not language lies outside the layers, and is never gathered."""

    n_layers: int
    """Decoder layers."""
    hidden_size: int
    """Width of the hidden states."""
    n_heads: int
    """Query heads."""
    n_kv_heads: int
    """Heads of keys and values."""
    head_dim: int
    """Width of a head."""
    ffn_width: int
    """Feed-forward width, in neurons."""
    vocabulary: int
    """Tokens that the head tells apart."""
    parameters: int
    """All, tied ones once."""
    layer_parameters: int
    """Of the largest layer."""
    outside_parameters: int
    """Of all that is not in a layer."""
    before_parameters: int
    """Of the embedding."""
    after_parameters: int
    """Of final norm and head."""
    tied: bool
    """Whether embedding and head are one tensor."""
    n_norms: int
    """Norms of the hidden states in a layer."""
    qk_norm: bool
    """Whether queries and keys are normalised."""
    softcap: bool
    """Whether logits are capped."""
    value_bytes: int
    """Bytes of a parameter."""

    @property
    def query_width(self) -> int:
        """q neurons of a layer: query heads times head dim."""
        return self.n_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """k (or v) neurons of a layer."""
        return self.n_kv_heads * self.head_dim

    @property
    def model_bytes(self) -> int:
        """Bytes of all parameters."""
        return self.parameters * self.value_bytes

    @property
    def layer_bytes(self) -> int:
        """Bytes of the largest layer."""
        return self.layer_parameters * self.value_bytes

    @property
    def before_bytes(self) -> int:
        """Bytes of the embedding."""
        return self.before_parameters * self.value_bytes

    @property
    def after_bytes(self) -> int:
        """Bytes of final norm and head."""
        return self.after_parameters * self.value_bytes

    @property
    def outside_bytes(self) -> int:
        """Bytes of what lies outside the layers."""
        return self.outside_parameters * self.value_bytes

    def width(self, group: str) -> int:
        """Neurons of `group` in one layer."""
        if group == "ffn":
            return self.ffn_width
        return self.kv_width if group in ("k", "v") else self.query_width


def shape_of(hf_config: Any, dtype: str) -> ModelShape:
    """The shape of the model that `neuron_core.model.load.from_pretrained` would load in `dtype`. Raises ModelError
    for a config that no model can be built from, UnsupportedArchitecture
    when its family is not declared."""
    import torch

    from polyneuron.neuron_core.common.boundary import errors_become
    from polyneuron.neuron_core.common.errors import ModelError
    from polyneuron.neuron_core.model.anatomy import anatomy_of
    from polyneuron.neuron_core.model.skeleton import model_class

    anatomy = anatomy_of(hf_config)
    cannot = f"No {anatomy.model_type} model can be built from the config of {hf_config.name_or_path or 'the model'}"
    with errors_become(ModelError, cannot, "Download or export it again"), torch.device("meta"):
        model: Any = model_class(hf_config).from_config(hf_config)
    layers = anatomy.layers(model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    names = [name for name, _ in layers[0].named_parameters()]
    return ModelShape(
        n_layers=anatomy.n_layers,
        hidden_size=anatomy.hidden_size,
        n_heads=anatomy.n_heads,
        n_kv_heads=anatomy.n_kv_heads,
        head_dim=anatomy.head_dim,
        ffn_width=anatomy.ffn_width,
        vocabulary=head.shape[0],
        parameters=parameters,
        layer_parameters=max(sum(p.numel() for p in layer.parameters()) for layer in layers),
        outside_parameters=parameters - sum(parameter.numel() for parameter in layers.parameters()),
        before_parameters=embedding.numel(),
        after_parameters=head.numel() + anatomy.hidden_size,
        tied=head is embedding,
        n_norms=sum(re.fullmatch(r"\w*norm\w*\.weight", name) is not None for name in names),
        qk_norm=anatomy.family.qk_norm is not None,
        softcap=anatomy.logit_cap is not None,
        value_bytes=VALUE_BYTES[dtype],
    )
