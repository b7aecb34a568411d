"""The scores of paper A's published code (Abstract_Thought cbcdb23), to set beside those of its equations.

They are not the paper's Eq. 8, 10 and 11, and are reproduced here with everything that sets them apart
(`transformers_custom/modeling_llama.py` of the authors' repository, lines 203, 247 to 268 and 368):

    fwd_up, fwd_down    sum_t |(W_up x_t)[k]|, one list for both
    attn_q, attn_k      sum_ij (softmax(S - X) - softmax(S))[i, j]^2, X[i, j] = c q[i, k] k[j, k], one list
                        for both: no V, no root, queries and keys after RoPE, so k is no row of W_Q or W_K
    attn_v, attn_o      sum_i |(A V)[i, k]|, one list for both; k and v indices run over query heads

The sums take in every token, BOS too. For Llama, Gemma 1 and Qwen the published code drops the causal mask:
it leaves masking to SDPA, then calls its own attention without one. Its Gemma 2 and 3 build a causal mask, so
`causal=True` is what it computes there. Families it lacks get the same formulas.
Shapes: T tokens, H query heads, D head dim, I feed-forward width, S sentences.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from polyneuron.neuron_core.common.errors import CorpusError, ModelError
from polyneuron.neuron_core.model.anatomy import Anatomy, anatomy_of
from polyneuron.neuron_core.model.groups import GROUPS, SCORE_GROUPS
from polyneuron.neuron_core.model.whole import require_whole
from polyneuron.neuron_core.passes.batches import as_sentences, require_rows
from polyneuron.neuron_core.passes.layer_major import attention_replaced
from polyneuron.neuron_core.passes.live_model import measured
from polyneuron.neuron_core.published.sets import JSON_KEYS

REFERENCE_ATTENTION = "polyneuron_reference_code"

PUBLISHED_MAX_TOKENS = 256
"""Where the published code cuts every prompt."""

_CHUNK_ELEMENTS = 1 << 22
"""Score elements worked on at once."""

Scores = dict[tuple[int, str], npt.NDArray[Any]]
"""By (layer, name), scores [S, N], larger means more important."""


def reference_scores(
    model: nn.Module,
    tokenizer: Any,
    sentences: Sequence[Any],
    groups: Sequence[str] = GROUPS,
    *,
    causal: bool = False,
    max_tokens: int | None = PUBLISHED_MAX_TOKENS,
) -> Scores:
    """Scores of every neuron for each of one language's sentences, as the published code has them.

    `sentences` are strings, or lists of token ids, which need no tokenizer; what exceeds `max_tokens` is cut. Keys are
    (layer, name) with the names of the published JSON files (`JSON_KEYS`) that belong to `groups`. Values [S, N] are
    float32 (float64 of a float64 model); N is I for fwd_up and fwd_down, H*D for the others, k and v too. `causal` puts the
    model's own mask, sliding windows included, back into the same formulas.
    Raises CorpusError for no sentence, or one without tokens, ModelError when a score is not finite (it names the layer) or
    the model is wrapped, sharded or quantised, UnsupportedArchitecture for a family that is not declared, ValueError for an
    unknown group, or strings without a tokenizer.
    """
    if unknown := set(groups) - set(GROUPS):
        raise ValueError(f"Unknown groups {sorted(unknown)}; there are {', '.join(GROUPS)}")
    if not sentences:
        raise CorpusError("There is no sentence to score; give at least one")
    require_whole(model)
    anatomy = anatomy_of(model)
    prepared = as_sentences(tokenizer, "", sentences, max_tokens)
    names = [name for name, group in JSON_KEYS.items() if group in groups]
    rows: dict[tuple[int, str], list[Tensor]] = {}
    for sentence in prepared:
        if not sentence.token_ids:
            raise CorpusError(f"Sentence {sentence.index} has no tokens; leave it out")
        with_scores = bool(set(groups) & set(SCORE_GROUPS))
        with measured(model), published_attention(model, anatomy, causal, with_scores) as layers:
            _run_decoder(model, anatomy, sentence.token_ids)
        for index, layer in enumerate(layers):
            for name in names:
                rows.setdefault((index, name), []).append(layer[name])
    scores = {key: torch.stack(of_key).cpu().numpy() for key, of_key in rows.items()}
    for (index, name), values in scores.items():
        if not np.isfinite(values).all():
            raise ModelError(
                f"Layer {index}: a score of {name} is not finite. Check the checkpoint, or load it in float32"
            )
    return scores


def by_group(scores: Mapping[tuple[int, str], npt.NDArray[Any]]) -> Scores:
    """The same scores by (layer, group), as `reference_selection` takes them; both fwd lists are ffn."""
    return {(layer, JSON_KEYS[name]): values for (layer, name), values in scores.items()}


@dataclass
class _Running:
    """How the attention of one layer is to be computed, and where its scores go."""

    causal: bool
    with_scores: bool
    scores: dict[str, Tensor] = field(default_factory=dict)


_running: dict[nn.Module, _Running] = {}


@contextmanager
def published_attention(
    model: nn.Module, anatomy: Anatomy, causal: bool = False, with_scores: bool = True
) -> Iterator[list[dict[str, Tensor]]]:
    """Inside, `model` computes what the published code does, one sentence at a time. Yields one dict per layer, name ->
    scores [N] of the sentence run last; `with_scores` False skips attn_q and attn_k, which cost most. Leaving restores the
    attention implementation and removes the hooks, after an exception too."""
    family, layers = anatomy.family, list(anatomy.layers(model))
    states = [_Running(causal, with_scores) for _ in layers]
    with ExitStack() as stack:
        for layer, state in zip(layers, states, strict=True):
            up = layer.get_submodule(f"{family.mlp}.{'gate_up_proj' if family.fused else 'up_proj'}")
            stack.enter_context(up.register_forward_hook(_score_up(state, anatomy.ffn_width)))
            attention = layer.get_submodule(family.attention)
            _running[attention] = state
            stack.callback(_running.pop, attention, None)
        stack.enter_context(attention_replaced(model, REFERENCE_ATTENTION))
        yield [state.scores for state in states]


@torch.no_grad()
def _run_decoder(model: nn.Module, anatomy: Anatomy, token_ids: Sequence[int]) -> None:
    decoder = model.get_submodule(anatomy.family.layers_path.rpartition(".")[0])  # the head is not needed
    ids = torch.tensor([token_ids], dtype=torch.int64, device=next(decoder.parameters()).device)
    require_rows(ids, model.config.get_text_config().vocab_size)  # type: ignore[union-attr, operator]
    decoder(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)


def _score_up(state: _Running, ffn_width: int) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any, output: Tensor) -> None:
        up_TI = _widened(output[0, :, -ffn_width:])  # a fused projection gives the gate first
        state.scores["fwd_up"] = state.scores["fwd_down"] = up_TI.abs().sum(0)

    return hook


def _reference_attention(
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
    """Attention of one sentence in the form transformers calls it. Returns heads [1, T, H, D]."""
    if query.shape[0] != 1:
        raise ValueError(f"{query.shape[0]} sentences at once; the published code takes one at a time")
    state = _running[module]
    shared = query.shape[1] // key.shape[1]
    query_HTD = _widened(query[0])
    key_HTD, value_HTD = (_widened(x[0]).repeat_interleave(shared, dim=0) for x in (key, value))
    scores_HTT = query_HTD @ key_HTD.mT * scaling
    if softcap is not None:
        scores_HTT = softcap * torch.tanh(scores_HTT / softcap)
    if state.causal:
        # transformers passes no mask where plain causality is all there is to it
        plain_TT = torch.ones_like(scores_HTT[0], dtype=torch.bool).tril_()
        allowed_TT = plain_TT if attention_mask is None else attention_mask[0, 0]
        scores_HTT = scores_HTT.masked_fill(~allowed_TT, -torch.inf)
    weights_HTT = scores_HTT.softmax(-1)
    heads_HTD = weights_HTT @ value_HTD
    if state.with_scores:
        state.scores["attn_q"] = state.scores["attn_k"] = _squared_moves(
            query_HTD, key_HTD, scores_HTT, weights_HTT, scaling
        )
    state.scores["attn_v"] = state.scores["attn_o"] = heads_HTD.abs().sum(1).flatten()
    return heads_HTD.transpose(0, 1)[None].to(query.dtype), None


def _squared_moves(
    query_HTD: Tensor, key_HTD: Tensor, scores_HTT: Tensor, weights_HTT: Tensor, scaling: float
) -> Tensor:
    """sum_ij (A' - A)^2 of every coordinate of every query head, [H*D]. As published, no soft-cap on X."""
    n_heads, length, head_dim = query_HTD.shape
    step = max(1, _CHUNK_ELEMENTS // length**2)
    parts = []
    for head in range(n_heads):
        for start in range(0, head_dim, step):
            query_CT, key_CT = (x[head, :, start : start + step].mT for x in (query_HTD, key_HTD))
            shift_CTT = scaling * query_CT[:, :, None] * key_CT[:, None, :]
            moved_CTT = (scores_HTT[head] - shift_CTT).softmax(-1) - weights_HTT[head]
            parts.append(moved_CTT.square().sum((-2, -1)))
    return torch.cat(parts)


def _widened(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


AttentionInterface.register(REFERENCE_ATTENTION, _reference_attention)
AttentionMaskInterface.register(REFERENCE_ATTENTION, sdpa_mask)
