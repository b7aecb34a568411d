"""Blocks of packed documents as the tensors of one forward pass, with masks that keep documents apart.

Shapes: B blocks of a batch, T tokens of a block.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from polyneuron.neuron_core.common.errors import ModelError, UnsupportedArchitecture
from polyneuron.neuron_core.model.families import family_of, supported

NO_LABEL = -100
"""The label of tokens that are not predicted: padding and the first of every piece."""

PADDING = -1
"""The document number of padding."""


@dataclass(frozen=True)
class Block:
    """One block. All tensors are int64 [T].

    `segment_ids`: the document of every token, numbered within its language, `PADDING` on padding. `labels`: the
    token itself (a Hugging Face model shifts them), `NO_LABEL` on padding and on the first token of a piece.
    """

    language: str
    input_ids: Tensor
    position_ids: Tensor
    segment_ids: Tensor
    labels: Tensor


@dataclass(frozen=True)
class PackedBatch:
    """Blocks as the tensors of one forward pass of the model of `config`; nothing is built before it is asked for.

    `dtype`: of the model's attention scores, which eager attention adds its mask to. `device`: where `inputs` go.
    """

    blocks: tuple[Block, ...]
    config: Any
    dtype: torch.dtype = torch.float32
    device: str | torch.device = "cpu"

    @cached_property
    def input_ids(self) -> Tensor:
        """int64 [B, T]."""
        return torch.stack([block.input_ids for block in self.blocks])

    @cached_property
    def position_ids(self) -> Tensor:
        """int64 [B, T], from 0 in every piece."""
        return torch.stack([block.position_ids for block in self.blocks])

    @cached_property
    def segment_ids(self) -> Tensor:
        """int64 [B, T]: the document of every token."""
        return torch.stack([block.segment_ids for block in self.blocks])

    @cached_property
    def labels(self) -> Tensor:
        """int64 [B, T], not shifted: label t is predicted from the logits of t - 1."""
        return torch.stack([block.labels for block in self.blocks])

    @cached_property
    def n_predicted(self) -> int:
        """Tokens that count in the loss."""
        return int((self.labels != NO_LABEL).sum())

    @cached_property
    def attention_mask(self) -> Tensor:
        """bool [B, 1, T, T], true where row t may attend: `document_mask` without a sliding window."""
        return document_mask(self.segment_ids)

    def inputs(self) -> dict[str, Any]:
        """Arguments of the model's forward: input_ids, position_ids and the masks. Raises as `model_masks`."""
        return {
            "input_ids": self.input_ids.to(self.device),
            "position_ids": self.position_ids.to(self.device),
            "attention_mask": model_masks(self.config, self.segment_ids.to(self.device), self.dtype),
        }


def document_mask(segment_ids: Tensor, window: int | None = None) -> Tensor:
    """bool [B, 1, T, T] from int64 [B, T]: true where row t may attend to column s.

    That is s <= t, of the same document, and t - s < `window`. Padding attends to padding: a row without a
    single true entry would make NaN.
    """
    at = torch.arange(segment_ids.shape[1], device=segment_ids.device)
    back = at[:, None] - at[None, :]
    allowed = (back >= 0) if window is None else (back >= 0) & (back < window)
    return ((segment_ids[:, :, None] == segment_ids[:, None, :]) & allowed)[:, None]


def model_masks(
    config: Any, segment_ids: Tensor, dtype: torch.dtype = torch.float32
) -> Tensor | dict[str, Tensor]:
    """The mask of `segment_ids` int64 [B, T] in the form that the model of `config` takes, sliding windows included.

    [B, 1, T, T], boolean for sdpa; for eager attention, which adds the mask to the scores, 0 or the lowest
    number of `dtype` (the dtype of the scores). A dict by kind of layer for models that mix kinds.

    Raises:
        ModelError: another attention implementation. UnsupportedArchitecture: a family that is not declared.
    """
    text = config.get_text_config()
    family = family_of(text.model_type)
    if family is None:
        raise UnsupportedArchitecture(
            f"Packed blocks cannot be masked for {text.model_type!r}; supported are {supported()}"
        )
    implementation = text._attn_implementation
    if implementation not in ("sdpa", "eager"):
        raise ModelError(
            f"Packed blocks cannot be masked for attention {implementation!r}: load the model with sdpa or eager"
        )

    def formed(window: int | None) -> Tensor:
        mask = document_mask(segment_ids, window)
        if implementation == "sdpa":
            return mask
        scores = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
        return scores.masked_fill_(~mask, torch.finfo(dtype).min)

    if not family.mask_per_kind:
        return formed(getattr(text, "sliding_window", None))
    windows = {"full_attention": None, "sliding_attention": text.sliding_window}
    return {kind: formed(windows[kind]) for kind in sorted(set(text.layer_types))}
