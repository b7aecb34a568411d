"""All impacts of one layer over one micro-batch: the seam between the formulas and the passes that call them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polyneuron.neuron_core.impacts import columns
from polyneuron.neuron_core.impacts.attention import ScoreImpacts
from polyneuron.neuron_core.impacts.capture import LayerRecord
from polyneuron.neuron_core.model.anatomy import Anatomy
from polyneuron.neuron_core.model.groups import SCORE_GROUPS


class LayerImpacts:
    """The impact formulas bound to one layer, whose parameters must be whole. Weight norms are computed once."""

    def __init__(self, layer: nn.Module, anatomy: Anatomy, groups: Sequence[str]) -> None:
        self._anatomy, self._groups = anatomy, groups
        attention: Any = layer.get_submodule(anatomy.family.attention)
        mlp = layer.get_submodule(anatomy.family.mlp)
        self._down_norms = (
            columns.output_norms(mlp.get_parameter("down_proj.weight")) if "ffn" in groups else None
        )
        self._out_norms = (
            columns.output_norms(attention.get_parameter("o_proj.weight")) if "o" in groups else None
        )
        self._norm_eps = (0.0, 0.0)
        if anatomy.family.qk_norm is not None:
            eps = anatomy.family.norm_eps
            self._norm_eps = (getattr(attention.q_norm, eps), getattr(attention.k_norm, eps))

    @torch.no_grad()
    def __call__(
        self, record: LayerRecord, scored_BT: Tensor, candidates: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Impacts [B, N] per group. With `candidates`, q and k only for those neurons (ascending int64 indices)."""
        anatomy, impacts = self._anatomy, dict[str, Tensor]()
        if wanted := [
            g for g in self._groups if g in SCORE_GROUPS and (candidates is None or len(candidates[g]))
        ]:
            scores = ScoreImpacts(record, anatomy, scored_BT, self._norm_eps)
            for group in wanted:
                impacts[group] = scores.impacts(group, None if candidates is None else candidates[group])
        if "v" in self._groups or "o" in self._groups:
            head_norms = columns.column_norms(record.heads, scored_BT)
            if "v" in self._groups:
                impacts["v"] = columns.value_impacts(head_norms, anatomy.n_kv_heads, anatomy.head_dim)
            if self._out_norms is not None:
                impacts["o"] = columns.output_impacts(head_norms, self._out_norms)
        if self._down_norms is not None:
            impacts["ffn"] = columns.ffn_impacts(record.ffn, scored_BT, self._down_norms)
        return impacts
