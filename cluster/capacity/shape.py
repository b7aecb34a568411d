"""The numbers of a model that its cost depends on, read from its config on the meta device: no weights, no memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

VALUE_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class ModelShape:
    """Sizes of one model.

    layer_parameters: of its largest layer; before_parameters: of the embedding; after_parameters: of final norm and head;
    outside_parameters: of all that is not in a layer (tied: embedding and head are one tensor; a part that is not language
    counts here and is never gathered); n_norms: norms of the hidden states in a layer; softcap: whether logits are capped.
    """

    n_layers: int
    hidden_size: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_width: int
    vocabulary: int
    parameters: int
    layer_parameters: int
    outside_parameters: int
    before_parameters: int
    after_parameters: int
    tied: bool
    n_norms: int
    qk_norm: bool
    softcap: bool
    value_bytes: int

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
        """All parameters."""
        return self.parameters * self.value_bytes

    @property
    def layer_bytes(self) -> int:
        """The largest layer."""
        return self.layer_parameters * self.value_bytes

    @property
    def before_bytes(self) -> int:
        """The embedding."""
        return self.before_parameters * self.value_bytes

    @property
    def after_bytes(self) -> int:
        """Final norm and head."""
        return self.after_parameters * self.value_bytes

    @property
    def outside_bytes(self) -> int:
        """What lies outside the layers."""
        return self.outside_parameters * self.value_bytes

    def width(self, group: str) -> int:
        """Neurons of `group` in one layer."""
        widths = {"q": self.query_width, "k": self.kv_width, "v": self.kv_width, "o": self.query_width}
        return self.ffn_width if group == "ffn" else widths[group]


def shape_of(hf_config: Any, dtype: str) -> ModelShape:
    """The shape of the model that `neuron_core.models.from_pretrained` would load in `dtype`.

    Raises:
        UnsupportedArchitecture: its family is not declared.
    """
    import torch

    from polyneuron.neuron_core.model.anatomy import anatomy_of
    from polyneuron.neuron_core.model.load import model_class

    anatomy = anatomy_of(hf_config)
    with torch.device("meta"):
        model: Any = model_class(hf_config).from_config(hf_config)
    layers = anatomy.layers(model)
    inside = {id(parameter) for parameter in layers.parameters()}
    outside = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    head = model.get_output_embeddings().weight
    norms = [
        parameter
        for name, parameter in layers[0].named_parameters()
        if name.count(".") == 1 and "norm" in name and name.endswith("weight")
    ]
    return ModelShape(
        n_layers=anatomy.n_layers,
        hidden_size=anatomy.hidden_size,
        n_heads=anatomy.n_heads,
        n_kv_heads=anatomy.n_kv_heads,
        head_dim=anatomy.head_dim,
        ffn_width=anatomy.ffn_width,
        vocabulary=head.shape[0],
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layer_parameters=max(sum(p.numel() for p in layer.parameters()) for layer in layers),
        outside_parameters=sum(parameter.numel() for parameter in outside),
        before_parameters=model.get_input_embeddings().weight.numel(),
        after_parameters=head.numel() + anatomy.hidden_size,
        tied=head is model.get_input_embeddings().weight,
        n_norms=len(norms),
        qk_norm=anatomy.family.qk_norm is not None,
        softcap=anatomy.logit_cap is not None,
        value_bytes=VALUE_BYTES[dtype],
    )
