"""Blocks of packed documents as the tensors of one forward pass, with masks that keep documents apart.

Shapes: B blocks of a batch, T tokens of a block.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from polyneuron.neuron_core.common.errors import ModelError, UnsupportedArchitecture
from polyneuron.neuron_core.model.families import family_of, supported
from polyneuron.neuron_core.passes.batches import require_rows

NO_LABEL = -100
"""The label of tokens that are not predicted: padding, prompts and the first of every piece."""

PADDING = -1
"""The document number of padding."""


class Block(NamedTuple):
    """One block. All tensors are int64 [T]."""

    input_ids: Tensor
    position_ids: Tensor
    """From 0 in every piece, and in the padding."""
    segment_ids: Tensor
    """The document of every token, numbered within its language, `PADDING` on padding."""
    labels: Tensor
    """The token itself (a Hugging Face model shifts them), `NO_LABEL` on padding and where nothing is predicted."""


class PackedBatch:
    """Blocks as the tensors of one forward pass of a model: those of a `Block`, int64 [B, T]."""

    def __init__(
        self,
        blocks: Iterable[Block],
        config: Any,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        """`config`: the model's; `dtype`: of its attention scores, which eager attention adds its mask to; `device`: where
        `inputs` go. Raises CorpusError for a token that the model has no row for."""
        self.input_ids, self.position_ids, self.segment_ids, self.labels = map(
            torch.stack, zip(*blocks, strict=True)
        )
        self._config, self._dtype, self._device = config, dtype, device
        require_rows(self.input_ids, config.get_text_config().vocab_size)

    def inputs(self) -> dict[str, Any]:
        """The arguments of the model's forward: input_ids, position_ids and the masks. Raises as `model_masks`."""
        return {
            "input_ids": self.input_ids.to(self._device),
            "position_ids": self.position_ids.to(self._device),
            "attention_mask": model_masks(self._config, self.segment_ids.to(self._device), self._dtype),
        }


def document_mask(segment_ids: Tensor, window: int | None = None) -> Tensor:
    """Which tokens may attend to which, bool [B, 1, T, T], from the documents of the tokens, int64 [B, T]. Row t is true at
    column s where s <= t, both are of the same document, and t - s < `window`. Padding attends to padding: a row without a
    single true entry would make NaN."""
    at = torch.arange(segment_ids.shape[1], device=segment_ids.device)
    back = at[:, None] - at[None, :]
    allowed = (back >= 0) if window is None else (back >= 0) & (back < window)
    return ((segment_ids[:, :, None] == segment_ids[:, None, :]) & allowed)[:, None]


def model_masks(
    config: Any, segment_ids: Tensor, dtype: torch.dtype = torch.float32
) -> Tensor | dict[str, Tensor]:
    """The mask of `segment_ids` int64 [B, T] in the form that the model of `config` takes, sliding windows included. It is
    [B, 1, T, T], boolean for sdpa; for eager attention, which adds the mask to the scores, 0 or the lowest number of
    `dtype` (the dtype of the scores). A dict by kind of layer for models that mix kinds. Raises ModelError for another
    attention implementation, UnsupportedArchitecture for a family that is not declared."""
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
